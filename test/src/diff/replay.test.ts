import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { comparing } from '../../../src/diff/diff-plans.ts'
import { type ReplayResult, replayLog } from '../../../src/diff/replay.ts'
import { type Config, side } from './diffs.ts'

const route = (options: Config): Config => ({
  path: '/orders/*',
  proxy: { upstream: 'http://127.0.0.1:4001' },
  ...options
})
const routes = (...list: readonly Config[]): Config => ({ routes: list })
const auth = { apiKeys: { list: [{ id: 'partner', key: `sha256:${'0'.repeat(64)}` }] } }

const PASSED = { method: 'GET', path: '/orders/1', route: '/orders/*', status: 200, ip: '203.0.113.7' }
const BY_CALLER = { ...PASSED, caller: 'partner' }
const ANONYMOUS = { ...PASSED, status: 401, refusedBy: 'auth', code: 'SP_ERR_AUTH_MISSING' }
const DENIED = { ...PASSED, status: 403, refusedBy: 'ipAccess', code: 'SP_ERR_IP_ACCESS_DENIED' }

async function replay(
  t: Test,
  lines: readonly unknown[],
  before: Config,
  after: Config
): Promise<ReplayResult> {
  const file = join(t.testdir({}), 'access.ndjson')
  writeFileSync(
    file,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
  )
  return replayLog(file, await comparing(await side(before), await side(after)))
}

const CASES: readonly (readonly [
  what: string,
  line: Config,
  before: Config,
  after: Config,
  result: readonly [before: string, after: string] | 'same' | 'not known'
])[] = [
  ['nothing that changes', PASSED, routes(route({})), routes(route({ name: 'orders' })), 'same'],
  [
    'an address that is denied',
    PASSED,
    routes(route({})),
    routes(route({ ipAccess: { deny: ['203.0.113.0/24'] } })),
    ['passed', 'refused by ipAccess']
  ],
  [
    'another address that is denied',
    PASSED,
    routes(route({})),
    routes(route({ ipAccess: { deny: ['10.0.0.0/8'] } })),
    'same'
  ],
  [
    'an address that is no longer denied',
    DENIED,
    routes(route({ ipAccess: { allow: ['10.0.0.0/8'] } })),
    routes(route({})),
    ['refused by ipAccess', 'passed by ipAccess']
  ],
  [
    'an address that is denied as before',
    DENIED,
    routes(route({ ipAccess: { allow: ['10.0.0.0/8'] } })),
    routes(route({ ipAccess: { allow: ['10.0.0.0/9'] } })),
    'same'
  ],
  [
    'a gate that only reports',
    DENIED,
    routes(route({ ipAccess: { allow: ['10.0.0.0/8'] } })),
    routes(route({ ipAccess: { allow: ['10.0.0.0/8'], mode: 'report' } })),
    ['refused by ipAccess', 'passed by ipAccess']
  ],
  ['an anonymous request', PASSED, routes(route({})), routes(route({ auth })), ['passed', 'refused by auth']],
  [
    'an anonymous request that was refused',
    ANONYMOUS,
    routes(route({ auth })),
    routes(route({})),
    ['refused by auth', 'passed by auth']
  ],
  [
    'the role of a caller',
    BY_CALLER,
    routes(route({ auth })),
    routes(route({ auth: { ...auth, require: { roles: ['admin'] } } })),
    'not known'
  ],
  ['a count', PASSED, routes(route({})), routes(route({ rateLimit: { max: 10 } })), 'not known'],
  [
    'a body',
    { ...PASSED, method: 'POST' },
    routes(route({})),
    routes(route({ limits: { body: '1kb' } })),
    'not known'
  ],
  [
    'a condition',
    PASSED,
    routes(route({})),
    routes(route({}), route({ when: { 'header:x-beta': '1' }, name: 'beta' })),
    'not known'
  ],
  ['a route that is gone', PASSED, routes(route({})), routes(), ['answered by /orders/*', 'not found']],
  [
    'a route that is new',
    { ...PASSED, status: 404, route: 'not found' },
    routes(),
    routes(route({})),
    ['not found', 'answered by /orders/*']
  ],
  [
    'another upstream',
    PASSED,
    routes(route({})),
    routes(route({ proxy: { upstream: 'http://127.0.0.1:4002' } })),
    ['answered by /orders/*', 'answered elsewhere by /orders/*']
  ],
  [
    'a host in the log',
    { ...PASSED, headers: { host: 'a.example.com' } },
    routes(route({ host: 'a.example.com' })),
    routes(route({ host: '*.example.com' })),
    'same'
  ],
  [
    'a host that the log does not have',
    PASSED,
    routes(route({ host: 'a.example.com' })),
    routes(),
    ['answered by /orders/*', 'not found']
  ]
]

for (const [what, line, before, after, result] of CASES)
  t.test(`replays ${what}: ${typeof result === 'string' ? result : result.join(' → ')}`, async (t) => {
    const { requests, changes, notKnown } = await replay(t, [line], before, after)
    t.strictSame(
      { requests, notKnown, changes: changes.map((change) => [change.before, change.after]) },
      {
        requests: 1,
        notKnown: result === 'not known' ? 1 : 0,
        changes: typeof result === 'string' ? [] : [result]
      }
    )
  })

t.test('counts requests that are decided alike together, and lines that are none apart', async (t) => {
  const lines = [PASSED, PASSED, { ...PASSED, ip: '10.0.0.1' }, '', 'started', '{"msg":"listening"}', '[1]']
  t.match(
    await replay(t, lines, routes(route({})), routes(route({ ipAccess: { deny: ['203.0.113.0/24'] } }))),
    {
      requests: 3,
      changes: [{ before: 'passed', after: 'refused by ipAccess', count: 2, example: 'GET /orders/1' }],
      notKnown: 0,
      unreadable: 3
    }
  )
})
