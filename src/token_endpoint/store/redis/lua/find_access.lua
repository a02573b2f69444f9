-- KEYS: tokens, row. ARGV: 3 access token.
local value = redis.call('HGET', KEYS[1], ARGV[3])
if not value then return {clock, 'none'} end
local kind, expires_at, start = string.match(value, '^([sn])(%d+):()')
if not kind then return {clock, 'unreadable'} end
if now >= tonumber(expires_at) then return {clock, 'none'} end
local record = string.sub(value, start)
if kind == 'n' then return {clock, 'found', record} end
local row = redis.call('HMGET', KEYS[2], 'expires_at', 'record')
if not row[1] or now >= tonumber(row[1]) then return {clock, 'none'} end
return {clock, 'found', record, row[2]}
