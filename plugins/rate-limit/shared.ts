import type { SharedStore } from '../../src/lib/contracts/store.ts'
import type { Counter, CounterState } from './counters.ts'

// Each script mirrors its namesake in this folder, atomically and by the store's clock, so that all gateways share
// one count. They return: allowed, remaining, reset, retryAfter. The store's clock may be set back: a count then
// never lasts longer than one window from that moment.
const FIXED_WINDOW = `
local max, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local count = redis.call('INCRBY', KEYS[1], cost)
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > window then
  redis.call('PEXPIRE', KEYS[1], window)
  left = window
end
if count <= max then return {1, max - count, left, 0} end
return {0, 0, left, math.max(1, left)}`

const SLIDING_WINDOW = `
local max, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local index = math.floor(ms / window)
local kept = redis.call('HMGET', KEYS[1], 'index', 'now', 'before', 'last', 'lastBefore')
local at, now, before = tonumber(kept[1]), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
local last, lastBefore = tonumber(kept[4] or 0), tonumber(kept[5] or 0)
if at ~= index then
  if at == index - 1 then before, lastBefore = now, last else before, lastBefore = 0, 0 end
  now, last = 0, 0
end
if ms - lastBefore > window then before = 0 end
local passed = (ms % window) / window
local allowed = before * (1 - passed) + now + cost <= max
if allowed and cost > 0 then
  now = now + cost
  last = ms
end
redis.call('HSET', KEYS[1], 'index', index, 'now', now, 'before', before, 'last', string.format('%.0f', last), 'lastBefore', string.format('%.0f', lastBefore))
redis.call('PEXPIRE', KEYS[1], window * 2)
local remaining = math.max(0, math.floor(max - before * (1 - passed) - now))
local rest = 1 - passed
if now > 0 then rest = rest + 1 end
local reset = math.ceil(rest * window)
if allowed then return {1, remaining, reset, 0} end
local room = max - cost - now
local share
if room >= 0 then share = 1 - room / before - passed else share = 2 - passed - math.max(0, max - cost) / now end
local atMost = last + window - ms + 1
if room >= 0 then atMost = lastBefore + window - ms + 1 end
return {0, remaining, reset, math.max(1, math.min(atMost, math.ceil(share * window)))}`

const TOKEN_BUCKET = `
local max, window, cost, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local rate = max / window
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local kept = redis.call('HMGET', KEYS[1], 'taken', 'seen')
local taken = math.max(0, tonumber(kept[1] or 0) - math.max(0, ms - tonumber(kept[2] or ms)) * rate)
local allowed = taken + cost <= burst
if allowed then taken = taken + cost end
redis.call('HSET', KEYS[1], 'taken', string.format('%.6f', taken), 'seen', string.format('%.3f', ms))
local reset = math.ceil(taken / rate)
redis.call('PEXPIRE', KEYS[1], reset + 1000)
local tokens = burst - taken
local remaining = math.max(0, math.floor(tokens))
if allowed then return {1, remaining, reset, 0} end
return {0, remaining, reset, math.max(1, math.ceil((cost - tokens) / rate))}`

const SCRIPTS = {
  fixedWindow: FIXED_WINDOW,
  slidingWindow: SLIDING_WINDOW,
  tokenBucket: TOKEN_BUCKET
}

/** Creates a counter that all gateways with the same store share, at one round trip per request. */
export function sharedCounter(store: SharedStore, algorithm: keyof typeof SCRIPTS, name: string): Counter {
  const run = store.script(algorithm, 1, SCRIPTS[algorithm])
  const prefix = `${store.prefix}limit:${name}:`
  return {
    async hit(key, cost, { max, window, burst }): Promise<CounterState> {
      const [allowed, remaining, reset, retryAfter] = (await run(
        [prefix + key],
        [max, window, cost, burst]
      )) as [number, number, number, number]
      return { allowed: allowed === 1, remaining, reset, retryAfter }
    }
  }
}
