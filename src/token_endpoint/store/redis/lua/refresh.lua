-- KEYS: row, tokens, expiries. ARGV: 3 refresh token, 4 successor or empty, 5 its salt, 6 its expiry, 7 grace in seconds,
-- 8 owner or empty, 9 access token, 10 its expiry, 11 its record.
local row = redis.call('HMGET', KEYS[1], 'redeemed', 'current', 'expires_at', 'idle_until', 'last', 'salt', 'rotated_at')
if not (row[1] and row[2]) or now >= tonumber(row[3]) or now >= tonumber(row[4]) then return {clock, 'unknown'} end
local reply
if row[2] == ARGV[3] then
  -- This command is first because a full Redis refuses it: then the token is not used up.
  redis.call('HSET', KEYS[1], 'idle_until', ARGV[6], 'used_at', ARGV[1])
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'current', ARGV[4], 'last', ARGV[3], 'salt', ARGV[5], 'rotated_at', ARGV[1])
  else
    -- The successor of the last token is used now.
    redis.call('HDEL', KEYS[1], 'last', 'salt', 'rotated_at')
  end
  reply = {clock, 'done'}
-- In both directions, because the clock of another instance may be behind.
elseif row[5] == ARGV[3] and math.abs(now - tonumber(row[7])) < tonumber(ARGV[7]) then
  -- The grace goes on from the first use.
  redis.call('HSET', KEYS[1], 'idle_until', ARGV[6], 'used_at', ARGV[1])
  reply = {clock, 'again', row[6]}
else
  return end_session('reused', KEYS[1], KEYS[2], KEYS[3])
end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'owner', ARGV[8]) end
add_access(KEYS[2], KEYS[3], ARGV[9], ARGV[10], ARGV[11])
return reply
