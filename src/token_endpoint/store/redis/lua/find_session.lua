-- KEYS: the row.
local row = redis.call('HMGET', KEYS[1], 'redeemed', 'current', 'expires_at', 'idle_until', 'last', 'record')
if not (row[1] and row[2]) or now >= tonumber(row[3]) or now >= tonumber(row[4]) then return {clock, 'none'} end
return {clock, 'found', row[6], row[3], row[2], row[5] or ''}
