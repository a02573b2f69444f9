-- KEYS: the row.
local row = redis.call('HMGET', KEYS[1], 'record', 'expires_at', 'used_at', 'redeemed')
if not row[1] or now >= tonumber(row[2]) then return {clock, 'none'} end
return {clock, row[4] and 'redeemed' or 'pending', row[1], row[3]}
