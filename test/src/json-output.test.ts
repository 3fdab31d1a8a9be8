import { createHash } from 'node:crypto'
import t from 'tap'
import { sallyport } from '../helpers.ts'

const HASH = `sha256:${'0'.repeat(64)}`

// Many processes, one after the other.
t.setTimeout(600_000)

/** Runs a command with --json; returns its exit code, and its output without the version, which is 1. */
async function output(
  args: readonly string[],
  { cwd, input = '' }: { cwd: string; input?: string }
): Promise<{ code: number | null; data: Record<string, unknown> }> {
  const { code, stdout, stderr } = await sallyport([...args, '--json'], { cwd, input })
  t.equal(stderr, '', args.join(' '))
  const { version, ...data } = JSON.parse(stdout) as Record<string, unknown>
  t.equal(version, 1)
  return { code, data }
}

t.test('check --json prints routes and warnings, or errors with their places', async (t) => {
  const cwd = t.testdir({
    'gateway.json': `{
  "auth": { "global": false, "apiKeys": { "list": [ { "id": "ada", "key": "${HASH}" } ] } },
  "routes": [
    { "path": "/closed", "auth": true, "respond": { "body": "x" } },
    { "path": "/open/*", "methods": ["GET"], "proxy": { "upstream": "http://127.0.0.1:9" } }
  ]
}`,
    'wrong.json': '{ "rateLimt": {}, "routes": [] }'
  })
  const { code, data } = await output(['check'], { cwd })
  t.equal(code, 0)
  t.strictSame(Object.keys(data).toSorted(), [
    'accepted',
    'config',
    'descriptors',
    'notes',
    'routes',
    'valid',
    'warnings'
  ])
  t.match(data, { config: 'gateway.json', valid: true, notes: [], descriptors: Number })
  const routes = data['routes'] as { route: string; gates: string[]; target: string }[]
  t.strictSame(Object.keys(routes[0] ?? {}), ['route', 'gates', 'target'])
  t.match(
    routes.find(({ route }) => route === 'GET,HEAD /open/*'),
    { target: 'proxy http://127.0.0.1:9', gates: ['requestId', 'accessLog'] }
  )
  t.match(data['warnings'], [
    {
      code: 'SP_WARN_PUBLIC_BESIDE_PROTECTED',
      severity: 'medium',
      file: 'gateway.json',
      line: 5,
      column: 5,
      path: String,
      message: /is public/,
      places: [{ file: 'gateway.json', line: 5, column: 5 }]
    }
  ])
  t.equal((await output(['check', '--strict'], { cwd })).code, 1)

  const wrong = await output(['check', '-c', 'wrong.json'], { cwd })
  t.equal(wrong.code, 1)
  t.strictSame(wrong.data, {
    config: 'wrong.json',
    valid: false,
    errors: [
      {
        file: 'wrong.json',
        line: 1,
        column: 3,
        path: 'rateLimt',
        message: 'Unknown option "rateLimt"; did you mean "rateLimit"?'
      }
    ]
  })
})

t.test('hash, key add, user add and init print what they made with --json', async (t) => {
  const cwd = t.testdir({})
  const sha256 = (key: string): string => `sha256:${createHash('sha256').update(key).digest('hex')}`
  t.strictSame(await output(['hash', '--key'], { cwd, input: 'a key' }), {
    code: 0,
    data: { hash: sha256('a key') }
  })
  t.match(await output(['key', 'add', 'robot'], { cwd }), {
    code: 0,
    data: { id: 'robot', file: 'keys.json', key: /^[\w-]{43}$/ }
  })
  t.strictSame(await output(['user', 'add', 'ada'], { cwd, input: 'a password' }), {
    code: 0,
    data: { name: 'ada', file: 'users.json' }
  })
  t.match(await output(['init', 'edge'], { cwd }), { code: 0, data: { files: ['edge/gateway.json'] } })
})
