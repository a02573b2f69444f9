-- KEYS: the keys. ARGV: 3 key id, 4 JWK, 5 expiry.
local kind, since, expires_at = read_key(redis.call('HGET', KEYS[1], ARGV[3]))
if kind == 'w' then return {clock, 'withdrawn'} end
since = since or ARGV[1]
write_key(KEYS[1], ARGV[3], 'p', since, math.max(tonumber(ARGV[5]), expires_at or 0), ARGV[4])
return {clock, 'done', since}
