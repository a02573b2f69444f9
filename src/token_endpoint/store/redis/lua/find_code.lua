-- KEYS: the row. ARGV: 3 code.
local row = redis.call('HMGET', KEYS[1], 'code', 'record', 'expires_at', 'redeemed')
if row[1] ~= ARGV[3] or now >= tonumber(row[3]) then return {clock, 'none'} end
return {clock, row[4] and 'used' or 'unused', row[2]}
