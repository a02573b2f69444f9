-- KEYS: row, tokens, expiries. ARGV: 3 code, 4 record, 5 client, 6 subject, 7 owner or empty, 8 expiry, 9 refresh token or
-- empty, 10 its expiry, 11 access token, 12 its expiry, 13 its record.
local row = redis.call('HMGET', KEYS[1], 'code', 'expires_at', 'redeemed')
if row[1] ~= ARGV[3] or now >= tonumber(row[2]) then return {clock, 'unknown'} end
if row[3] then return end_session('replayed', KEYS[1], KEYS[2], KEYS[3]) end
-- This command is first because a full Redis refuses it: then the code is not used up.
redis.call('HSET', KEYS[1], 'redeemed', '1', 'record', ARGV[4], 'client', ARGV[5], 'subject', ARGV[6],
  'expires_at', ARGV[8], 'used_at', ARGV[1])
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'owner', ARGV[7]) end
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'current', ARGV[9], 'idle_until', ARGV[10]) end
keep(KEYS[1], tonumber(ARGV[8]))
add_access(KEYS[2], KEYS[3], ARGV[11], ARGV[12], ARGV[13])
return {clock, 'done'}
