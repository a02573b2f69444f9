-- Every script begins with this. ARGV[1] is the caller's time in seconds, ARGV[2] the deadline in milliseconds by the clock of
-- this server, or empty. Every reply begins with this server's time in milliseconds and the outcome.
local now = tonumber(ARGV[1])
local seconds, micros = unpack(redis.call('TIME'))
local clock = string.format('%.0f', seconds * 1000 + math.floor(micros / 1000))
if ARGV[2] ~= '' and tonumber(clock) >= tonumber(ARGV[2]) then return {clock, 'late'} end

-- The scripts decide by `now` what has expired. Redis deletes it this many seconds later, so that nothing is deleted too early
-- if the clocks of the instances differ.
local MARGIN = 300

-- Sets the time to live of a key, unless it is longer already.
local function keep(key, expires_at)
  local ttl = math.min(math.max(expires_at - now, 0) + MARGIN, 1e10) * 1000
  if ttl > redis.call('PTTL', key) then redis.call('PEXPIRE', key, string.format('%.0f', ttl)) end
end
