-- KEYS: tokens, order, expiries. ARGV: 3 member, 4 its expiry, 5 limit.
add_member(KEYS[2], KEYS[3], ARGV[3], ARGV[4])
prune_members(KEYS[1], KEYS[2], KEYS[3])
local reply = {clock, 'done'}
evict(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[5]), reply)
return reply
