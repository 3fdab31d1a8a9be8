// What the page knows: it polls /figures, and derives rates and percentiles from the differences.

const POLL_MS = 2000
// Rates and percentiles in tables are over this time, so that they are steady.
const WINDOW_MS = 10_000
// Points of a chart: ten minutes.
const POINTS = 300
const TIMEOUT_MS = 8000
const TOKEN = 'sallyport-admin-token'

/** A response that is not the one wanted: its status, and what it says. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the gateway answered ${status}`)
    this.status = status
    this.code = problem.code ?? ''
    this.faults = problem.faults ?? []
  }
}

/** Sends a request to the admin listener, with the token of this tab. */
export async function ask(path, body) {
  const token = sessionStorage.getItem(TOKEN)
  const response = await fetch(path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      accept: 'application/json',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' })
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(body === undefined ? TIMEOUT_MS : 60_000)
  })
  if (response.ok) return response.json()
  throw new Refused(response.status, await response.json().catch(() => ({})))
}

/** A row that counts, with what it was at earlier times. */
class Row {
  constructor(value, at, base) {
    this.value = value
    this.past = [{ at, value: base }]
  }

  set(value, at) {
    this.value = value
    this.past.push({ at, value })
  }

  /** Returns what the row was at a time, or at first. */
  before(time) {
    while (this.past.length > 1 && this.past[1].at <= time) this.past.shift()
    return this.past[0].value
  }
}

const minus = (one, other) => one.map((value, i) => Math.max(0, value - (other[i] ?? 0)))
const total = (values) => values.reduce((sum, value) => sum + value, 0)

/** Returns the duration below which a share of the requests are, by interpolation within its bucket; null without requests. */
export function quantile(bounds, counts, share) {
  const wanted = total(counts) * share
  if (wanted === 0) return null
  let sum = 0
  for (const [i, inBucket] of counts.entries()) {
    if (inBucket > 0 && sum + inBucket >= wanted) {
      const low = bounds[i - 1] ?? 0
      const high = bounds[i] ?? low
      return low + ((high - low) * (wanted - sum)) / inBucket
    }
    sum += inBucket
  }
  return bounds.at(-1)
}

/** Derives the figures of a time span from two sets of counts. */
function figuresOf(now, then, seconds, bounds) {
  const classes = minus(now.responses ?? [], then.responses ?? [])
  const durations = minus(now.durations ?? [], then.durations ?? [])
  const responses = total(classes)
  const share = (index) => (responses === 0 ? null : classes[index] / responses)
  const at = (percentile) => (bounds === null ? null : quantile(bounds, durations, percentile))
  return {
    rate: responses / seconds,
    classes: classes.map((value) => value / seconds),
    refusedShare: share(3),
    errorShare: share(4),
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99)
  }
}

/** Follows a gateway, and tells its listener after each poll. */
export class Feed {
  /** `live`, `connecting`, `lost` or `locked`. */
  state = 'connecting'
  head = null
  status = null
  limits = []
  reloads = []
  points = { time: [], ok: [], refused: [], failed: [], p50: [], p95: [], p99: [], inFlight: [] }
  #mark = ''
  #rows = { routes: new Map(), upstreams: new Map(), caches: new Map(), refusals: new Map() }
  #heads = []
  #seen = ''
  #timer
  #changed

  constructor(changed) {
    this.#changed = changed
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) void this.poll()
    })
  }

  /** Keeps a token in this tab, until it is closed. */
  async unlock(token) {
    sessionStorage.setItem(TOKEN, token)
    await this.poll()
    if (this.state === 'locked') sessionStorage.removeItem(TOKEN)
  }

  /** Forgets the token. */
  lock() {
    sessionStorage.removeItem(TOKEN)
    location.reload()
  }

  get hasToken() {
    return sessionStorage.getItem(TOKEN) !== null
  }

  /** Reads the figures now, and again and again while the page is visible. */
  async poll() {
    clearTimeout(this.#timer)
    try {
      const read = await ask(`figures?since=${encodeURIComponent(this.#mark)}`)
      this.#take(read)
      this.state = 'live'
      await this.#readRest()
    } catch (error) {
      this.state = error instanceof Refused && error.status === 401 ? 'locked' : 'lost'
    }
    this.#changed()
    if (!document.hidden && this.state !== 'locked') this.#timer = setTimeout(() => void this.poll(), POLL_MS)
  }

  /** Returns the rows of a kind, each with its figures of the last seconds. */
  rows(kind) {
    const { at, bounds } = this.head
    const since = at - WINDOW_MS
    return [...this.#rows[kind].values()].map((row) => {
      const then = row.before(since)
      const seconds = Math.max(1, (at - Math.max(since, this.#heads[0].at)) / 1000)
      return { ...row.value, then, seconds, ...figuresOf(row.value, then, seconds, bounds) }
    })
  }

  /** Returns the figures of the whole gateway. */
  totals() {
    const now = this.head
    const [then] = this.#heads
    return this.#between(then === now ? null : then, now)
  }

  #between(then, now) {
    if (then === null)
      return {
        rate: null,
        refusedShare: null,
        errorShare: null,
        p50: null,
        p95: null,
        p99: null,
        classes: []
      }
    const seconds = Math.max(0.001, (now.at - then.at) / 1000)
    const counted = figuresOf(now.totals, then.totals, seconds, now.bounds)
    const rate = Math.max(0, now.requests - then.requests) / seconds
    if (now.bounds !== null) return { ...counted, rate }
    const client = Math.max(0, now.refused.client - then.refused.client) / seconds
    const server = Math.max(0, now.refused.server - then.refused.server) / seconds
    const share = (value) => (rate === 0 ? null : Math.min(1, value / rate))
    return {
      ...counted,
      rate,
      refusedShare: share(client),
      errorShare: share(server),
      classes: [0, Math.max(0, rate - client - server), 0, client, server]
    }
  }

  #take({ routes, upstreams, caches, refusals, full, mark, ...head }) {
    const isFirst = this.head === null || full
    if (full) {
      for (const rows of Object.values(this.#rows)) rows.clear()
      if (this.head !== null && this.head.startedAt !== head.startedAt) this.#heads = []
    }
    const kinds = { routes, upstreams, caches, refusals }
    for (const [kind, list] of Object.entries(kinds))
      for (const value of list) {
        const known = this.#rows[kind].get(value.name)
        if (known !== undefined) known.set(value, head.at)
        // A row that was not there before has counted from zero.
        else
          this.#rows[kind].set(
            value.name,
            new Row(value, head.at, isFirst ? value : { results: {}, limits: [] })
          )
      }
    this.#mark = mark
    this.#addPoint(this.#heads.at(-1) ?? null, head)
    this.head = head
    this.#heads.push(head)
    while (this.#heads.length > 1 && this.#heads[1].at <= head.at - WINDOW_MS) this.#heads.shift()
  }

  #addPoint(then, now) {
    if (then === null) return
    const { classes, p50, p95, p99 } = this.#between(then, now)
    const { points } = this
    const point = {
      time: now.at / 1000,
      ok: (classes[0] ?? 0) + (classes[1] ?? 0) + (classes[2] ?? 0),
      refused: classes[3] ?? 0,
      failed: classes[4] ?? 0,
      p50,
      p95,
      p99,
      inFlight: now.inFlight
    }
    for (const [name, value] of Object.entries(point)) {
      points[name].push(value)
      if (points[name].length > POINTS) points[name].shift()
    }
  }

  /** Reads what changes at reloads only; certificates once a minute. */
  async #readRest() {
    const { startedAt, generation, reloads, at } = this.head
    const seen = [startedAt, generation, reloads.taken, reloads.refused, Math.floor(at / 60_000)].join()
    if (seen === this.#seen) return
    const [status, limits, past] = await Promise.all([ask('status'), ask('limits'), ask('reloads')])
    this.status = status
    this.limits = limits
    this.reloads = past
    this.#seen = seen
  }
}
