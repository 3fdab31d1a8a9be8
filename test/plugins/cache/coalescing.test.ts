import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Flight } from '../../../plugins/cache/coalescing/flight.ts'
import { Flights } from '../../../plugins/cache/coalescing/flights.ts'
import { clock, movableClock } from '../../helpers.ts'
import { cached } from './harness.ts'

const MAX_AGE = ['cache-control', 'max-age=60']

/** Leads a key, or fails the test. */
function lead(flights: Flights<string>, key = 'a'): Flight<string> {
  const role = flights.join(key)
  if (role.role !== 'lead') throw new Error(`expected to lead, got ${role.role}`)
  return role.flight
}

/** Follows a key, or fails the test. */
function follow(flights: Flights<string>, key = 'a') {
  const role = flights.join(key)
  if (role.role !== 'follow') throw new Error(`expected to follow, got ${role.role}`)
  return role.follower
}

t.test('lets followers stream along with what is shared, also from the middle on', async (t) => {
  const flights = new Flights<string>()
  const flight = lead(flights)
  const early = follow(flights)
  const waiting = early.wait(1000)
  flight.share('head')
  t.strictSame(await waiting, { head: 'head' })
  const body = text(early.body())
  flight.write(Buffer.from('one '))
  const late = follow(flights)
  t.strictSame(await late.wait(1000), { head: 'head' })
  flight.write(Buffer.from('two'))
  flight.end()
  t.equal(await body, 'one two')
  t.equal(await text(late.body()), 'one two')
  t.equal(flight.isAwaited, false)
  t.equal(flights.size, 0)
})

t.test(
  'sends each follower on its own way where the response is not shared, and lets none wait for 10 s',
  async (t) => {
    const advance = clock(t)
    const flights = new Flights<string>()
    const flight = lead(flights)
    const waiting = [follow(flights).wait(1000), follow(flights).wait(1000)]
    flight.refuse()
    t.strictSame(await Promise.all(waiting), ['alone', 'alone'])
    t.equal(flights.join('a').role, 'pass')
    t.equal(flights.join('b').role, 'lead')
    advance(9)
    t.equal(flights.join('a').role, 'pass')
    advance(2)
    t.equal(flights.join('a').role, 'lead')
  }
)

t.test('sends followers on where the leader fails before the head, and cuts them after it', async (t) => {
  const flights = new Flights<string>()
  const failing = lead(flights)
  const waiting = follow(flights).wait(1000)
  failing.fail()
  t.equal(await waiting, 'alone')
  t.equal(flights.join('a').role, 'lead', 'a failure is no reason not to wait')
  const cut = lead(flights, 'b')
  const follower = follow(flights, 'b')
  cut.share('head')
  cut.write(Buffer.from('part'))
  const body = follower.body()
  body.resume()
  const failed = once(body, 'error')
  cut.fail()
  t.match(await failed, [{ message: /cut/ }])
})

t.test('survives a cut body that nothing reads', async (t) => {
  const flights = new Flights<string>()
  const flight = lead(flights)
  const body = follow(flights).body()
  flight.share('head')
  body.read()
  flight.fail()
  await new Promise((resolve) => body.once('close', resolve))
  t.equal(body.destroyed, true)
})

t.test(
  'lets a follower wait no longer than its own deadline, and others not join what takes so long',
  async (t) => {
    const { advance } = movableClock(t)
    const flights = new Flights<string>()
    const flight = lead(flights)
    const [short, long] = [follow(flights), follow(flights)]
    const results = [short.wait(100), long.wait(10_000)]
    advance(101)
    t.equal(await results[0], 'timeout')
    t.equal(flights.join('a').role, 'lead')
    flight.share('head')
    t.strictSame(await results[1], { head: 'head' })
    flight.end()
  }
)

t.test('tells the leader when the last follower has left', async (t) => {
  const flights = new Flights<string>()
  const flight = lead(flights)
  const followers = [follow(flights), follow(flights)]
  let left = 0
  flight.abandoned = () => left++
  t.equal(flight.isAwaited, true)
  const waiting = followers[0]?.wait(1000)
  followers[0]?.leave()
  t.equal(await waiting, 'alone')
  t.equal(left, 0)
  followers[1]?.leave()
  followers[1]?.leave()
  t.equal(left, 1)
  t.equal(flight.isAwaited, false)
})

t.test(
  'keeps a window of a body too large to store, and pauses the leader for the slowest follower',
  async (t) => {
    const flights = new Flights<string>()
    const flight = lead(flights)
    const [fast, slow] = [follow(flights), follow(flights)]
    flight.share('head')
    const chunk = Buffer.alloc(100_000, 'x')
    const fastBody = text(fast.body())
    const slowBody = slow.body()
    t.equal(flight.write(chunk), true)
    flight.keepWindow()
    t.equal(flights.join('a').role, 'pass', 'nobody joins any more')
    let drained = 0
    flight.drained = () => drained++
    let sent = 1
    while (flight.write(chunk)) sent++
    t.ok(sent < 10)
    t.equal(drained, 0)
    const slowText = text(slowBody)
    flight.end()
    t.equal((await fastBody).length, (await slowText).length)
    t.equal(drained, 1)
  }
)

t.test('holds no body for nobody', async (t) => {
  const flight = lead(new Flights<string>())
  flight.share('head')
  flight.keepWindow()
  for (let i = 0; i < 100; i++) t.equal(flight.write(Buffer.alloc(100_000)), true)
})

t.test('asks the upstream once for many requests of one key', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { get, seen, parts } = cached({}, async () => {
    await promise
    return { status: 200, fields: MAX_AGE, body: 'b' }
  })
  const asking = Array.from({ length: 10 }, () => get('/a'))
  await until(() => parts.flights.size === 1)
  resolve()
  const answers = await Promise.all(asking)
  t.equal(seen.length, 1)
  t.strictSame([...new Set(answers.map(({ body }) => body))], ['b'])
  t.equal(answers.filter(({ cacheStatus }) => cacheStatus.includes('collapsed')).length, 9)
})

t.test('shares nothing that varies, is private, or has to be revalidated', async (t) => {
  for (const fields of [
    [...MAX_AGE, 'vary', 'x'],
    ['cache-control', 'private'],
    ['cache-control', 'no-cache', 'etag', '"a"'],
    [...MAX_AGE, 'set-cookie', 'a=b']
  ]) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { get, seen, parts } = cached({}, async ({ headers }) => {
      await promise
      return { status: 200, fields, body: `for ${String(headers['x'])}` }
    })
    const asking = Array.from({ length: 5 }, (_, i) => get('/a', { x: String(i) }))
    await until(() => parts.flights.size === 1)
    resolve()
    t.strictSame(
      (await Promise.all(asking)).map(({ body }) => body),
      ['for 0', 'for 1', 'for 2', 'for 3', 'for 4']
    )
    t.equal(seen.length, 5)
  }
})

t.test('lets no request wait where coalescing is off, or with a Range', async (t) => {
  const { get, seen, parts } = cached({ coalesce: false }, () => ({
    status: 200,
    fields: MAX_AGE,
    body: 'b'
  }))
  await Promise.all([get('/a'), get('/a')])
  t.equal(seen.length, 2)
  t.equal(parts.flights.size, 0)
})

async function until(come: () => boolean): Promise<void> {
  while (!come()) await new Promise((resolve) => setImmediate(resolve))
}
