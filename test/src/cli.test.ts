import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { ask, BIN, clean, type Ended, gateway, running, SECRET, sallyport } from '../helpers.ts'

const HASH = `sha256:${'0'.repeat(64)}`

// The command line, run as a user does: many processes, one after the other.
t.setTimeout(600_000)

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '')
const STACK = /^\s+at |node:internal|file:\/\//m

/** Ends a command that was refused: an exit code, one line of stderr, nothing on stdout. */
const refusal = ({
  code,
  stdout,
  stderr
}: Ended): { code: number | null; stdout: string; lines: string[] } => ({
  code,
  stdout,
  lines: linesOf(stderr)
})

const hello = { 'gateway.json': '{ "routes": [ { "path": "/hello", "respond": { "body": "hello" } } ] }' }

t.test('check', async (t) => {
  const folder = t.testdir({
    ...hello,
    'shop.json': `{
  "rateLimit": { "max": 5 },
  "auth": { "global": false, "apiKeys": { "list": [ { "id": "ada", "key": "${HASH}" } ] } },
  "routes": [
    { "path": "/open", "rateLimit": false, "respond": { "body": "x" } },
    { "path": "/closed/*", "host": "api.test", "methods": ["GET"], "auth": { "mode": "report" }, "proxy": { "upstream": "http://127.0.0.1:9" } },
    { "name": "pages", "path": "/pages/*", "files": { "root": "." } },
    { "path": "/-/live", "respond": {} }
  ]
}`,
    'wrong.json': `{
  "rateLimt": {},
  "routes": [ { "path": "/a", "proxy": { "upstream": "shop" } } ]
}`,
    '.env': 'GATEWAY_CONFIG=shop.json\n'
  })

  t.test('shows every route with its gates in the order in which they run', async (t) => {
    const { code, stdout, stderr } = await sallyport(['check', '-c', 'shop.json'], { cwd: folder })
    t.equal(code, 0)
    t.equal(stderr, '')
    const lines = linesOf(stdout)
    const gatesOf = (route: string): string[] =>
      lines
        .find((line) => line.startsWith(`${route} `))
        ?.slice(route.length)
        .trim()
        .split(' > ') ?? []
    const closed = gatesOf('GET,HEAD api.test/closed/*')
    t.equal(closed.at(-1), 'proxy http://127.0.0.1:9')
    t.strictSame(
      closed.filter((gate) => ['requestId', 'limits', 'rateLimit', 'auth (report)'].includes(gate)),
      ['requestId', 'limits', 'rateLimit', 'auth (report)']
    )
    const open = gatesOf('* /open')
    t.equal(open.at(-1), 'respond 200')
    t.notOk(open.includes('rateLimit'), 'and none that is off')
    t.notOk(open.includes('auth'))
    t.ok(gatesOf('GET,HEAD /-/ready').length > 0, "the gateway's own routes included")
  })

  t.test('prints warnings, and fails on them only with --strict', async (t) => {
    const plain = await sallyport(['check', '-c', 'shop.json'], { cwd: folder })
    const warnings = linesOf(plain.stdout).filter((line) => line.startsWith('warning: '))
    t.equal(warnings.length, 2)
    t.match(
      warnings[0],
      /^warning: shop\.json:7:5 The route pages is public beside protected ones; "auth": false says that it is meant \[SP_WARN_PUBLIC_BESIDE_PROTECTED, medium\]$/
    )
    t.match(warnings[1], /^warning: shop\.json:8:5 The route \/-\/live replaces the built-in route/)
    t.match(linesOf(plain.stdout).at(-1), /^shop\.json is valid: 4 routes, 2 warnings$/)
    const strict = await sallyport(['check', '-c', 'shop.json', '--strict'], { cwd: folder })
    t.equal(strict.code, 1)
    t.equal(strict.stdout, plain.stdout)
    t.match(await sallyport(['check', '--strict', '-c', 'gateway.json'], { cwd: folder }), {
      code: 0,
      stderr: ''
    })
  })

  t.test('prints one warning for what several routes share', async (t) => {
    const own = t.testdir({
      'gateway.json': JSON.stringify({
        auth: { global: false, apiKeys: { list: [{ id: 'ada', key: HASH }] } },
        routes: [
          { path: '/closed', auth: true, respond: {} },
          ...['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => ({ path: `/${name}`, files: { root: '.' } }))
        ]
      })
    })
    const { stdout } = await sallyport(['check'], { cwd: own })
    t.strictSame(
      linesOf(stdout).filter((line) => line.startsWith('warning: ')),
      [
        'warning: gateway.json:1:194 Each of the routes /a, /b, /c, /d, /e and 2 more is public beside protected ones; "auth": false says that it is meant [SP_WARN_PUBLIC_BESIDE_PROTECTED, medium]'
      ]
    )
  })

  t.test('warns of a file to deny that reads like a list to allow', async (t) => {
    const cases: [ipAccess: object, warns: boolean][] = [
      [{ file: 'allowed.txt' }, true],
      [{ file: 'office-ips.txt', deny: ['192.0.2.1'] }, true],
      [{ file: 'addresses.txt' }, true],
      [{ file: 'blocked.txt' }, false],
      [{ file: 'disallowed.txt' }, false],
      [{ file: 'addresses.txt', deny: ['192.0.2.1'] }, false],
      [{ allow: ['private'] }, false]
    ]
    const files = ['allowed.txt', 'office-ips.txt', 'addresses.txt', 'blocked.txt', 'disallowed.txt']
    const routes = [
      { path: '/a', respond: {} },
      { path: '/b', respond: {} }
    ]
    const own = t.testdir({
      ...Object.fromEntries(files.map((name) => [name, '192.0.2.7\n'])),
      ...Object.fromEntries(cases.map(([ipAccess], i) => [`${i}.json`, JSON.stringify({ ipAccess, routes })]))
    })
    for (const [i, [ipAccess, warns]] of cases.entries()) {
      const { stdout } = await sallyport(['check', '-c', `${i}.json`], { cwd: own })
      const warnings = linesOf(stdout).filter((line) => line.startsWith('warning: '))
      t.equal(warnings.length, warns ? 1 : 0, JSON.stringify(ipAccess))
      if (warns)
        t.match(warnings[0], /Each of the routes \/a, \/b refuses the addresses in .*"ipAccess\.file" denies/)
    }
  })

  t.test('warns where an included file switches a gate off, or lets it only report', async (t) => {
    const own = t.testdir({
      'gateway.json': JSON.stringify({
        auth: { apiKeys: { list: [{ id: 'ada', key: HASH }] } },
        rateLimit: { global: false, max: 5, window: '1m' },
        routes: [
          { path: '/main', auth: false, respond: {} },
          { path: '/reports', limits: { mode: 'report' }, respond: {} },
          { path: '/team', include: 'team.json' }
        ]
      }),
      'team.json': `{
  "limits": { "mode": "report" },
  "routes": [
    { "path": "/a", "auth": false, "rateLimit": false, "respond": {} },
    { "path": "/b", "auth": { "mode": "report" }, "respond": {} },
    { "path": "/c", "responseTime": false, "auth": { "require": { "roles": ["x"] } }, "respond": {} },
    { "path": "/d", "include": "inner.json" }
  ]
}`,
      'inner.json': '{ "auth": { "global": false }, "routes": [ { "path": "/e", "respond": {} } ] }'
    })
    const { code, stdout } = await sallyport(['check'], { cwd: own })
    t.equal(code, 0)
    const lifted = 'which is on where the file is included'
    t.strictSame(
      linesOf(stdout).filter((line) => line.startsWith('warning: ')),
      [
        `warning: team.json:4:21 routes[0].auth: This included file switches off "auth", ${lifted} [SP_WARN_INCLUDE_GATE_OFF, high]`,
        `warning: inner.json:1:3 auth: This included file switches off "auth", ${lifted} [SP_WARN_INCLUDE_GATE_OFF, high]`,
        'warning: team.json:2:15 limits.mode: This included file puts "limits" into report mode ("mode": "report") [SP_WARN_INCLUDE_GATE_REPORTS, medium]',
        'warning: team.json:5:31 routes[1].auth.mode: This included file puts "auth" into report mode ("mode": "report") [SP_WARN_INCLUDE_GATE_REPORTS, medium]'
      ]
    )
    t.equal((await sallyport(['check', '--strict'], { cwd: own })).code, 1)
  })

  t.test(
    'tells how many file descriptors there are, and warns where overload.maxConnections needs more',
    async (t) => {
      const config = { overload: { maxConnections: 100_000_000 }, routes: [] }
      const cwd = t.testdir({ 'gateway.json': JSON.stringify(config), 'plain.json': '{ "routes": [] }' })
      const few = await sallyport(['check', '--strict'], { cwd })
      t.equal(few.code, 1)
      t.match(
        few.stdout,
        /^warning: .*"overload\.maxConnections" of 100000000 needs 200000064 file descriptors/m
      )
      const enough = await sallyport(['check', '--strict', '-c', 'plain.json'], { cwd })
      t.equal(enough.code, 0)
      t.match(enough.stdout, /^note: each process may open \d+ file descriptors \(ulimit -n\)$/m)
    }
  )

  t.test('prints all errors with their places, and no stack', async (t) => {
    const { code, stdout, stderr } = await sallyport(['check', '-c', 'wrong.json'], { cwd: folder })
    t.equal(code, 1)
    t.equal(stdout, '')
    t.strictSame(linesOf(stderr), [
      'wrong.json:2:3 rateLimt: Unknown option "rateLimt"; did you mean "rateLimit"?',
      'wrong.json:3:42 routes[0].proxy.upstream: No upstream "shop"; the config has none: add it to "upstreams", or use a URL such as "http://localhost:4001"',
      '2 errors; nothing was started.'
    ])
    t.notMatch(stderr, STACK)
  })

  t.test('prints 20 of many errors and a count of the others', async (t) => {
    const routes = Array.from({ length: 5000 }, (_, i) => ({ path: `/${i}` }))
    const cwd = t.testdir({ 'gateway.json': JSON.stringify({ routes }) })
    const { code, stderr } = await sallyport(['check'], { cwd })
    t.equal(code, 1)
    const lines = linesOf(stderr)
    t.equal(lines.length, 22)
    t.match(lines[0], /^gateway\.json:1:\d+ routes\[0\]: The route has no target/)
    t.strictSame(lines.slice(20), ['… and 4980 more', '5000 errors; nothing was started.'])
  })

  t.test('finds the config by -c, else GATEWAY_CONFIG, else .env, else gateway.json', async (t) => {
    const checked = async (
      args: string[],
      env: Record<string, string>,
      cwd = folder
    ): Promise<string | undefined> =>
      /^(\S+) is valid/m.exec((await sallyport(['check', ...args], { cwd, env })).stdout)?.[1]
    t.equal(await checked(['-c', 'gateway.json'], { GATEWAY_CONFIG: 'wrong.json' }), 'gateway.json')
    t.equal(await checked(['--config=gateway.json'], {}), 'gateway.json')
    t.equal(await checked([], { GATEWAY_CONFIG: 'gateway.json' }), 'gateway.json')
    t.equal(await checked([], {}), 'shop.json')
    t.equal(await checked([], {}, t.testdir(hello)), 'gateway.json')
  })

  t.test('finds gateway.yaml, .yml, .ts, .mts, .mjs and .js where there is no gateway.json', async (t) => {
    const yaml = 'routes: [{ path: /hello, respond: { body: hello } }]\n'
    const module = `export default ${hello['gateway.json']}\n`
    const found = async (files: Record<string, string>): Promise<string | undefined> => {
      const cwd = t.testdir(files)
      return /^(\S+) is valid/m.exec((await sallyport(['check'], { cwd })).stdout)?.[1]
    }
    const files = {
      'gateway.yaml': yaml,
      'gateway.yml': yaml,
      'gateway.ts': module,
      'gateway.mts': module,
      'gateway.mjs': module
    }
    for (const [name, text] of Object.entries(files)) t.equal(await found({ [name]: text }), name)
    t.equal(await found({ 'gateway.js': module, 'package.json': '{ "type": "module" }' }), 'gateway.js')
    t.equal(await found({ 'gateway.yaml': yaml, ...hello }), 'gateway.json', 'gateway.json wins')
  })

  t.test('fails where the config is missing', async (t) => {
    const { code, stdout, stderr } = await sallyport(['check'], { cwd: t.testdir({}) })
    t.equal(code, 1)
    t.equal(stdout, '')
    t.match(stderr, /^gateway\.json There is no such file; "sallyport init" writes one/)
    t.notMatch(stderr, STACK)
  })
})

t.test('schema', async (t) => {
  t.test('prints gateway.schema.json', async (t) => {
    const { code, stdout, stderr } = await sallyport(['schema'])
    t.equal(code, 0)
    t.equal(stderr, '')
    t.strictSame(JSON.parse(stdout), JSON.parse(read('gateway.schema.json')))
  })

  t.test('leaves out the keywords of editors with --standard', async (t) => {
    const { code, stdout } = await sallyport(['schema', '--standard'])
    t.equal(code, 0)
    t.match(stdout, '"title": "Sallyport gateway configuration"')
    t.notMatch(stdout, /allowComments|defaultSnippets|enumSortTexts/)
  })

  const tenant = `export const key = 'tenant'
export const options = { type: 'object', description: 'Who rents.', properties: { known: { type: 'integer', description: 'How many.' } }, additionalProperties: false }
export default async function tenant () {}`

  t.test('includes the options of extensions with -c, at the root and on routes', async (t) => {
    const cwd = t.testdir({
      'gateway.json': '{ "extensions": [ { "module": "./tenant.js", "after": "auth" } ], "routes": [] }',
      'tenant.js': tenant
    })
    const { code, stdout } = await sallyport(['schema', '-c', 'gateway.json'], { cwd })
    t.equal(code, 0)
    const { properties, $defs } = JSON.parse(stdout) as {
      properties: Record<string, unknown>
      $defs: { route: { properties: Record<string, unknown> } }
    }
    for (const words of [properties, $defs.route.properties])
      t.match(words['tenant'], {
        description: 'Who rents.',
        anyOf: [{ type: 'boolean' }, { properties: { known: {} } }]
      })
  })

  t.test('fails where an extension is not valid', async (t) => {
    const cwd = t.testdir({ 'gateway.json': '{ "extensions": [ { "module": "./nope.js" } ], "routes": [] }' })
    const { code, stdout, stderr } = await sallyport(['schema', '-c', 'gateway.json'], { cwd })
    t.equal(code, 1)
    t.equal(stdout, '')
    t.match(stderr, /^gateway\.json:1:21 extensions\[0\]\.module: There is no file \.\/nope\.js/)
  })
})

t.test('hash', async (t) => {
  t.test('prints a hash that a user can log in with, without the final newline of stdin', async (t) => {
    for (const input of ['correct horse', 'correct horse\n', 'correct horse\r\n']) {
      const { code, stdout, stderr } = await sallyport(['hash'], { input })
      t.equal(code, 0)
      t.equal(stderr, '')
      t.match(stdout, /^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[\w+/]+\$[\w+/]+\n$/)
      const app = await gateway(t, {
        auth: { session: true, users: { list: [{ name: 'ada', password: stdout.trimEnd() }] } },
        routes: [{ path: '/a', respond: {} }]
      })
      const logIn = async (password: string): Promise<number> =>
        (await app.inject({ method: 'POST', url: '/login', payload: { username: 'ada', password } }))
          .statusCode
      t.equal(await logIn('correct horse'), 200)
      t.equal(await logIn('correct horse\n'), 401)
    }
  })

  t.test('prints another hash each time', async (t) => {
    const [one, two] = await Promise.all([
      sallyport(['hash'], { input: 'x' }),
      sallyport(['hash'], { input: 'x' })
    ])
    t.not(one?.stdout, two?.stdout)
  })

  t.test('prints the hash of an API key with --key', async (t) => {
    const { code, stdout } = await sallyport(['hash', '--key'], { input: 'key-of-ada\n' })
    t.equal(code, 0)
    t.match(stdout, /^sha256:[0-9a-f]{64}\n$/)
    const app = await gateway(t, {
      auth: { apiKeys: { list: [{ id: 'ada', key: stdout.trimEnd() }] } },
      routes: [{ path: '/a', respond: { body: '{caller.id}' } }]
    })
    t.equal((await app.inject({ url: '/a', headers: { 'x-api-key': 'key-of-ada' } })).body, 'ada')
    t.equal((await app.inject({ url: '/a', headers: { 'x-api-key': 'key-of-eve' } })).statusCode, 401)
  })

  t.test('refuses stdin that is not one line', async (t) => {
    const cases: [name: string, args: string[], input: string, says: RegExp][] = [
      ['nothing', [], '', /^expected a line on stdin, got none; printf /],
      ['an empty line', ['--key'], '\n', /^expected a line on stdin, got none/],
      [
        'two lines',
        [],
        'hunter2\nhunter3\n',
        /^expected one line on stdin, got several; hash one at a time$/
      ],
      ['an empty line at the end', ['--key'], 'hunter2\n\n', /^expected one line on stdin, got several/]
    ]
    await Promise.all(
      cases.map(async ([name, args, input, says]) => {
        const { code, stdout, lines } = refusal(await sallyport(['hash', ...args], { input }))
        t.equal(code, 1, name)
        t.equal(stdout, '')
        t.equal(lines.length, 1)
        t.match(lines[0], says)
        t.notMatch(lines[0], /hunter/)
      })
    )
  })
})

t.test('a command whose reader leaves ends without a message', async (t) => {
  const cwd = t.testdir({
    ...hello,
    'gateway.test.json': '{ "tests": [{ "request": "GET /hello", "expect": { "status": 200 } }] }'
  })
  for (const args of [['schema'], ['test'], ['echo', '--port', '0']]) {
    const child = spawn(process.execPath, [BIN, ...args], {
      cwd,
      env: clean,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    child.stdout.destroy()
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')])
    // As after SIGPIPE: what was asked for is not known to be so.
    t.strictSame({ code, stderr }, { code: 141, stderr: '' }, args.join(' '))
  }
})

t.test('every command prints its usage with --help', async (t) => {
  const commands = [
    'run',
    'check',
    'schema',
    'openapi',
    'init',
    'hash',
    'user',
    'key',
    'proxy',
    'echo',
    'completion'
  ]
  await Promise.all(
    commands.map(async (command) => {
      const { code, stdout, stderr } = await sallyport([command, '--help'])
      t.match({ code, stderr }, { code: 0, stderr: '' }, command)
      t.match(stdout, /^usage: sallyport /)
      t.match(stdout, command)
    })
  )
})

t.test('wrong usage exits with 2 and prints one line with what would work', async (t) => {
  const cases: [args: string[], says: RegExp][] = [
    [['chek'], /^There is no command "chek"; did you mean "check"\?$/],
    [
      ['frobnicate'],
      /^There is no command "frobnicate"; the commands are run, check, explain, diff, test, schema, openapi, fmt, init, hash, user, key, import, proxy, echo, completion$/
    ],
    [['constructor'], /^There is no command "constructor"; /],
    [
      ['check', 'gateway.json'],
      /^expected no file here, got "gateway\.json"; "-c gateway\.json" names the config; usage: sallyport check \[-c FILE\] \[--strict\] \[--json\|--sarif\]$/
    ],
    [['--port', '80'], /^There is no option --port; set PORT in the environment; usage: sallyport \[run\] /],
    [['run', '-p', '80'], /^There is no option -p; set PORT in the environment; usage: /],
    [['run', '--workers=4'], /^There is no option --workers; set WORKERS in the environment; usage: /],
    [
      ['check', '--stric'],
      /^Unknown option '--stric' \(did you mean "--strict"\?\); usage: sallyport check /
    ],
    [['check', '-c'], /argument missing; usage: sallyport check /],
    [['check', '--strict=no'], /does not take an argument; usage: sallyport check /],
    [['init', 'a', 'b'], /^expected nothing here, got "b"; usage: sallyport init \[DIR\] /],
    [['hash', 'hunter2'], /usage: sallyport hash \[--key\] \[--json\]$/],
    [
      ['--wach'],
      /^Unknown option '--wach' \(did you mean "--watch"\?\); usage: sallyport \[run\] \[-c FILE\] \[--watch\]$/
    ]
  ]
  const cwd = t.testdir(hello)
  await Promise.all(
    cases.map(async ([args, says]) => {
      const { code, stdout, lines } = refusal(await sallyport(args, { cwd }))
      t.equal(code, 2, args.join(' '))
      t.equal(stdout, '')
      t.equal(lines.length, 1)
      t.match(lines[0], says)
    })
  )
})

t.test('prints its commands with --help and its version with --version', async (t) => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await sallyport(args)
    t.equal(code, 0)
    t.equal(stderr, '')
    for (const command of [
      '[run]',
      'check',
      'schema',
      'openapi',
      'init',
      'hash',
      'user',
      'key',
      'echo',
      'completion'
    ])
      t.match(stdout, `  sallyport ${command}`)
  }
  const { version } = JSON.parse(read('package.json')) as { version: string }
  for (const args of [['--version'], ['-v']])
    t.strictSame(await sallyport(args), { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('a start that fails exits with 1 and prints one line', async (t) => {
  const cwd = t.testdir({ ...hello, 'wrong.json': '{ "routes": 5 }' })
  const taken = createServer()
  taken.listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const cases: [name: string, env: Record<string, string>, says: RegExp][] = [
    [
      'a busy port',
      { PORT: String(port) },
      new RegExp(
        `^The port ${port} of 127\\.0\\.0\\.1 is in use; set PORT to another one, or 0 for any free one$`
      )
    ],
    ['a PORT that is no number', { PORT: 'http' }, /^PORT: expected a number from 0 to 65535, got "http"$/],
    ['a PORT that is too large', { PORT: '65536' }, /^PORT: .*got "65536"$/],
    ['a PORT that is broken', { PORT: '30.5' }, /^PORT: .*got "30\.5"$/],
    [
      'a LOG_LEVEL that is none',
      { LOG_LEVEL: 'loud' },
      /^LOG_LEVEL: expected one of trace, debug, info, warn, error, fatal, silent, got "loud"$/
    ],
    [
      'a DRAIN_TIMEOUT without a unit',
      { DRAIN_TIMEOUT: '30' },
      /^DRAIN_TIMEOUT: expected a duration such as "30s", got "30"$/
    ],
    [
      'a LOG_PRETTY that is none',
      { LOG_PRETTY: 'maybe' },
      /^LOG_PRETTY: expected true, false or auto, got "maybe"$/
    ],
    ['a HOST that is not ours', { HOST: '192.0.2.1' }, /^The gateway can't listen on 192\.0\.2\.1:0: \S/]
  ]
  await Promise.all(
    cases.map(async ([name, env, says]) => {
      const { code, stdout, lines } = refusal(await sallyport([], { cwd, env: { PORT: '0', ...env } }))
      t.equal(code, 1, name)
      t.equal(stdout, '')
      t.equal(lines.length, 1, lines.join(' | '))
      t.match(lines[0], says)
    })
  )

  t.test('prints a line for each error of a config', async (t) => {
    const { code, stdout, lines } = refusal(
      await sallyport(['run', '-c', 'wrong.json'], { cwd, env: { PORT: '0' } })
    )
    t.equal(code, 1)
    t.equal(stdout, '')
    t.strictSame(lines, [
      'wrong.json:1:3 routes: expected a list of routes, got 5',
      'One error; nothing was started.'
    ])
  })
})

t.test('run reads its settings from .env, and the real environment wins', async (t) => {
  const cwd = t.testdir({ ...hello, '.env': `PORT=nonsense\nLOG_LEVEL=info\nSESSION_SECRET=${SECRET}\n` })
  t.match(await sallyport(['run'], { cwd }), { code: 1, stderr: /^PORT: .*got "nonsense"/ })
  const { url } = await running(t, [], { cwd, env: { PORT: '0' } })
  t.equal((await ask(`${url}/hello`)).text, 'hello')
})
