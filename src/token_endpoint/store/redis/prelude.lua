-- Every script begins with this. ARGV[1] is what all keys begin with, ARGV[2] the time of whoever asks, in seconds.
--
-- c: codes, f: families that are alive, u: their used refresh tokens, a: access tokens, r: refresh tokens,
-- n: the access tokens of a client and subject with a limit, s: what was seen.
local prefix, now = ARGV[1], tonumber(ARGV[2])

-- What is over is decided by `now`. Redis only cleans up, by its own clock, and five minutes late: so nothing is forgotten
-- too early where the instances' clocks differ.
local function keep_for(expires_at)
  local seconds = math.max(expires_at - now, 0) + 300
  return string.format('%.0f', math.min(seconds, 1e10) * 1000)
end

-- Its text and what it says, unless it was revoked or has ended.
local function living_family(id)
  local text = redis.call('GET', prefix .. 'f:' .. id)
  if not text then return nil end
  local family = cjson.decode(text)
  if now >= family.expires_at then return nil end
  return text, family
end

-- Nothing that names it lives any more.
local function revoke_family(id)
  redis.call('DEL', prefix .. 'f:' .. id, prefix .. 'u:' .. id)
end

local function is_alive(record)
  return now < record.expires_at and (record.family == cjson.null or living_family(record.family) ~= nil)
end
