-- KEYS: 1 the access token, 2 its owner's tokens, 3 the refresh token, if there is one. ARGV: 3 the record, 4 the limit or
-- 0, 5 the access token's hash, 6 when the refresh token expires.
local record = cjson.decode(ARGV[3])
if record.family ~= cjson.null and not active_family(record.family) then return {'family ended'} end
local ttl = keep_for(record.expires_at)
redis.call('SET', KEYS[1], ARGV[3], 'PX', ttl)

local limit = tonumber(ARGV[4])
if limit > 0 then
  local count = redis.call('ZCARD', KEYS[2])
  if count >= limit then
    for _, hash in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
      local other = redis.call('GET', prefix .. 'a:' .. hash)
      if not (other and is_active(cjson.decode(other))) then
        redis.call('ZREM', KEYS[2], hash)
        count = count - 1
      end
    end
  end
  while count >= limit do
    redis.call('DEL', prefix .. 'a:' .. redis.call('ZPOPMIN', KEYS[2])[1])
    count = count - 1
  end
  -- The score is a counter and not the time, because many tokens may be issued in one second.
  local newest = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
  redis.call('ZADD', KEYS[2], (tonumber(newest[2]) or 0) + 1, ARGV[5])
  if tonumber(ttl) > redis.call('PTTL', KEYS[2]) then redis.call('PEXPIRE', KEYS[2], ttl) end
end

if KEYS[3] and record.family ~= cjson.null then
  redis.call('HSET', KEYS[3], 'family', record.family, 'expires_at', ARGV[6])
  redis.call('PEXPIRE', KEYS[3], keep_for(tonumber(ARGV[6])))
end
return {'issued'}
