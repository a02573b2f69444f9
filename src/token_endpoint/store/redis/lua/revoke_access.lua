-- KEYS: tokens, order, expiries, row. ARGV: 3 access token. Returns the owner, if its list has the token.
local value = redis.call('HGET', KEYS[1], ARGV[3])
if not value then return {clock, 'done', ''} end
redis.call('HDEL', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3])
return {clock, 'done', redis.call('HGET', KEYS[4], 'owner') or ''}
