import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Case, type Lane, run, statusesOf } from './cases/run.ts'
import { recording } from './cases/upstream.ts'
import { listening, raw, readableLog, type Scope } from './helpers.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const cases = JSON.parse(readFileSync(here('cases/cases.json'), 'utf8')) as readonly Case[]
const standard = JSON.parse(readFileSync(here('cases/gateway.json'), 'utf8')) as {
  routes: object[]
  auth: { apiKeys: object }
}

/** What some cases want beside the standard config. */
const MORE: Readonly<Record<string, object>> = {
  'trusted proxies = 127.0.0.1/32': { trustedProxies: ['127.0.0.1/32'] },
  'plus a host-bound route admin.internal.test/public -> upstream B': {
    routes: [
      ...standard.routes,
      {
        path: '/public/*',
        host: 'admin.internal.test',
        proxy: { upstream: 'b' },
        auth: { require: { roles: ['admin'] } }
      }
    ]
  }
}

const NOTHING = {}

const { auth: guard } = standard
const user = { list: [{ name: 'alice', secret: 'alice' }] }

/** What the words are that some cases need. */
const NEEDS: Readonly<Record<string, object>> = {
  login: { auth: { ...guard, session: true, users: user } },
  jwt: {
    auth: {
      ...guard,
      jwt: {
        issuer: 'https://issuer.test',
        audience: 'gateway',
        keys: here('cases/jwt/jwks.json'),
        algorithms: ['RS256', 'ES256']
      }
    }
  },
  cors: {
    routes: standard.routes.map((route) =>
      (route as { path: string }).path === '/public/*'
        ? { ...route, cors: { origins: ['https://app.test', 'https://*.ok.test'], credentials: true } }
        : route
    )
  },
  cache: {
    routes: [
      ...standard.routes,
      { path: '/cached/*', proxy: { upstream: 'a' }, auth: { optional: true }, cache: true }
    ]
  },
  xml2json: { routes: [...standard.routes, { path: '/xml/*', proxy: { upstream: 'a' }, format: 'xml' }] },
  websocket: { routes: [...standard.routes, { path: '/ws', proxy: { upstream: 'a' } }] }
}

const moreFor = ({ setup, needs }: Case): object =>
  MORE[setup] ?? needs?.map((need) => NEEDS[need]).find((more) => more !== undefined) ?? NOTHING

/** Where we mean to differ, and why. */
const DIFFERENT: Readonly<Record<string, string>> = {
  'dos-body-too-large-chunked':
    'The case wants a chunked body above the limit never to reach the upstream, which only a gateway can that takes bodies whole before it sends them. Ours streams: the upstream sees a request that is cut, the client 413 (see below).'
}

// Cases wait for silence most of the time: many run side by side.
const LANES = 24

async function lane(t: Scope, more: object): Promise<Lane> {
  const a = await recording(t)
  const b = await recording(t)
  const at = ({ port }: { port: number }): object => ({
    url: `http://127.0.0.1:${port}`,
    timeouts: { headers: '5s' }
  })
  const { auth = guard, ...rest } = more as { auth?: typeof guard }
  const config = {
    ...standard,
    auth: { ...auth, apiKeys: { ...auth.apiKeys, file: here('cases/keys.json') } },
    upstreams: { a: at(a), b: at(b) },
    ...rest
  }
  const { log, lines } = readableLog()
  const { port } = await listening(t, config, { log })
  return { port, a, b, lines }
}

t.test('the cases from the field', async (t) => {
  const bySetup = Map.groupBy(cases, moreFor)
  const wrong = new Map<string, string[]>()
  for (const [more, group] of bySetup) {
    const left = [...group]
    const work = async (): Promise<void> => {
      const mine = await lane(t, more)
      for (let each = left.shift(); each !== undefined; each = left.shift())
        wrong.set(each.id, await run(each, mine))
    }
    await Promise.all(Array.from({ length: Math.min(LANES, group.length) }, work))
  }
  for (const severity of ['must', 'should'] as const)
    await t.test(severity, async (t) => {
      const those = cases.filter((each) => each.severity === severity)
      let held = 0
      for (const { id, group } of those) {
        const faults = wrong.get(id) ?? ['it was not run']
        if (faults.length === 0) held++
        if (severity === 'must')
          if (DIFFERENT[id] === undefined) t.same(faults, [], `${group}: ${id}`)
          else t.not(faults.length, 0, `${id} differs on purpose: ${DIFFERENT[id]}`)
      }
      t.comment(`${severity} ${held}/${those.length}`)
      t.ok(held >= those.length * 0.9, `nine in ten: ${held} of ${those.length}`)
    })
})

t.test(
  'cuts a chunked body at its limit: the upstream never sees a whole request, and the client reads 413',
  async (t) => {
    const { port, a } = await lane(t, {})
    const chunk = `10000\r\n${'b'.repeat(65_536)}\r\n`
    const head = 'POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    const answer = await raw(port, [head, ...Array.from({ length: 20 }, () => chunk), '0\r\n\r\n'], 1000)
    t.same(statusesOf(answer), [413])
    t.notMatch(a.seen, /\r\n0\r\n\r\n$/, 'the last chunk never came')
    t.ok(a.seen.length < 1024 ** 2 + 200_000)
  }
)
