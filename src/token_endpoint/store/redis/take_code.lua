-- KEYS: the code. ARGV: 3 the binding.
local code = redis.call('HMGET', KEYS[1], 'binding', 'used', 'expires_at', 'family')
if code[1] ~= ARGV[3] then return {'unknown'} end
if code[2] then
  revoke_family(code[2])
  return {'again'}
end
if now >= tonumber(code[3]) then return {'unknown'} end
local family = cjson.decode(code[4])
local ttl = keep_for(family.expires_at)
-- This command is first because a full Redis refuses it: then the code is not consumed.
redis.call('SET', prefix .. 'f:' .. family.id, code[4], 'PX', ttl)
redis.call('HSET', KEYS[1], 'used', family.id)
redis.call('HDEL', KEYS[1], 'family')
redis.call('PEXPIRE', KEYS[1], ttl)
return {'first', code[4]}
