-- KEYS: the key. ARGV: 3 when the key expires.
local expires_at = redis.call('GET', KEYS[1])
if expires_at and now < tonumber(expires_at) then return {'known'} end
redis.call('SET', KEYS[1], ARGV[3], 'PX', keep_for(tonumber(ARGV[3])))
return {'new'}
