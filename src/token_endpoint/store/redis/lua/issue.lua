-- KEYS: tokens, order, expiries. ARGV: 3 access token, 4 its expiry, 5 its record, 6 whether the partition is the owner's (1 or
-- 0), 7 limit or 0.
redis.call('HSET', KEYS[1], ARGV[3], 'n' .. ARGV[4] .. ':' .. ARGV[5])
keep(KEYS[1], tonumber(ARGV[4]))
local reply = {clock, 'done'}
if ARGV[6] == '1' then
  add_member(KEYS[2], KEYS[3], ARGV[3], ARGV[4])
  prune_members(KEYS[1], KEYS[2], KEYS[3])
  local limit = tonumber(ARGV[7])
  if limit > 0 then evict(KEYS[1], KEYS[2], KEYS[3], limit, reply) end
end
return reply
