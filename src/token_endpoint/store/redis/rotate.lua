-- KEYS: 1 the refresh token, 2 its successor. ARGV: 3 the client, 4 the token's hash, 5 the successor's hash, 6 its salt,
-- 7 when the successor expires, 8 the grace in seconds.
local token = redis.call('HMGET', KEYS[1], 'family', 'expires_at', 'used_at', 'salt', 'successor')
local id = token[1]
if not id or now >= tonumber(token[2]) then return {'unknown'} end
local text, family = active_family(id)
if not text or family.client_id ~= ARGV[3] then return {'unknown'} end

if token[3] then
  local successor = redis.call('HMGET', prefix .. 'r:' .. token[5], 'family', 'used_at')
  local unused = successor[1] and not successor[2]
  -- In both directions, because the clock of another instance may be behind.
  if unused and math.abs(now - tonumber(token[3])) < tonumber(ARGV[8]) then return {'again', text, token[4]} end
  revoke_family(id)
  return {'reused'}
end

redis.call('HSET', KEYS[2], 'family', id, 'expires_at', ARGV[7])
redis.call('PEXPIRE', KEYS[2], keep_for(tonumber(ARGV[7])))
redis.call('HSET', KEYS[1], 'used_at', ARGV[2], 'salt', ARGV[6], 'successor', ARGV[5])
-- Keep the last hundred used tokens, so that one family can't fill Redis.
local used = prefix .. 'u:' .. id
if redis.call('RPUSH', used, ARGV[4]) > 100 then
  redis.call('DEL', prefix .. 'r:' .. redis.call('LPOP', used))
end
redis.call('PEXPIRE', used, keep_for(family.expires_at))
return {'first', text}
