// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import t from 'tap'
import { ask, gateway, listening, type Seen, upstream } from '../../helpers.ts'
import { checkFaults, type Env, type InvalidConfig, rejects } from './helpers.ts'

t.test('replaces environment variables and files', async (t) => {
  const cases: { name: string; body: string; env?: Env; is: string }[] = [
    { name: 'a variable', body: 'Hello, ${NAME}!', env: { NAME: 'ada' }, is: 'Hello, ada!' },
    { name: 'several variables', body: '${A}${B}-${A}', env: { A: '1', B: '2' }, is: '12-1' },
    { name: 'a fallback for a missing variable', body: '${NAME:-nobody}', is: 'nobody' },
    { name: 'a fallback for an empty variable', body: '${NAME:-nobody}', env: { NAME: '' }, is: 'nobody' },
    { name: 'an empty variable without a fallback', body: '<${NAME}>', env: { NAME: '' }, is: '<>' },
    { name: 'an empty fallback', body: '<${NAME:-}>', is: '<>' },
    { name: 'a fallback that contains ":-"', body: '${NAME:-a:-b}', is: 'a:-b' },
    { name: 'a variable over its fallback', body: '${NAME:-nobody}', env: { NAME: 'ada' }, is: 'ada' },
    { name: 'a file without its final newline', body: '<${file:secret.txt}>', is: '<two\nlines>' },
    { name: 'a file without its byte order mark', body: '<${file:marked.txt}>', is: '<one>' },
    { name: 'an escaped "${"', body: '$${{NAME}} and $5', env: { NAME: 'ada' }, is: '${NAME} and $5' },
    {
      name: 'a variable in the value of a variable stays',
      body: '${NAME}',
      env: { NAME: '${OTHER}', OTHER: 'x' },
      is: '${OTHER}'
    },
    { name: 'a number where a string is expected', body: '${N}', env: { N: '007' }, is: '007' }
  ]
  for (const { name, body, env = {}, is } of cases)
    t.test(name, async (t) => {
      const folder = t.testdir({
        'gateway.json': JSON.stringify({ routes: [{ path: '/a', respond: { body } }] }),
        'secret.txt': 'two\nlines\n',
        'marked.txt': '\uFEFFone\r\n'
      })
      const app = await gateway(t, `${folder}/gateway.json`, { env })
      t.equal((await app.inject('/a')).body, is)
    })

  t.test('does not treat the value of a variable as a template', async (t) => {
    const url = await upstream(t)
    const X = '{client.ip} {{x}} }{ {'
    const folder = t.testdir({
      'page.html': '<style>a{color:red}</style>{query.x}{{y}}',
      'gateway.json': JSON.stringify({
        upstreams: { own: { url } },
        routes: [
          { path: '/body', respond: { body: '${X}' } },
          { path: '/mixed', respond: { body: '${X}{query.q}${X}' } },
          { path: '/fallback', respond: { body: '${NONE:-x}{query.q}' } },
          { path: '/page', respond: { body: '${file:page.html}' } },
          { path: '/to', redirect: { to: '/at/${TO}' } },
          { path: '/old/*', redirect: { to: '/new-${TO}' } },
          {
            path: '/proxy/*',
            headers: { request: { 'x-set': '${X}{query.q}' }, response: { 'x-back': '${X}' } },
            query: { set: '${X}' },
            proxy: { upstream: 'own', rewrite: '/in/${TO}' }
          },
          { path: '/json', respond: { body: { a: '${X}', b: '{client.ip}' } } }
        ]
      })
    })
    const app = await gateway(t, `${folder}/gateway.json`, { env: { X, TO: '{client.ip}' } })
    const bodies: [path: string, body: string][] = [
      ['/body', X],
      ['/mixed?q=1', `${X}1${X}`],
      ['/fallback?q=1', 'x1'],
      ['/page?x=1', '<style>a{color:red}</style>{query.x}{{y}}'],
      ['/json', JSON.stringify({ a: X, b: '{client.ip}' })]
    ]
    for (const [path, body] of bodies) t.equal((await app.inject(path)).body, body, path)
    t.equal((await app.inject('/to')).headers.location, '/at/{client.ip}')
    t.equal((await app.inject('/old/a')).headers.location, '/new-{client.ip}/a')
    const { url: own } = await listening(t, `${folder}/gateway.json`, { env: { X, TO: '{client.ip}' } })
    const { text, headers } = await ask(`${own}/proxy/a?q=1`)
    const seen = JSON.parse(text) as Seen
    t.equal(seen.headers['x-set'], `${X}1`)
    t.equal(headers.get('x-back'), X)
    t.equal(new URL(seen.url, url).searchParams.get('set'), X)
    t.match(decodeURI(seen.url), /^\/in\/\{client\.ip\}\/a\?/)
  })

  t.test('converts a string that is only a variable to the type of its option', async (t) => {
    const config = {
      limits: { body: '${NONE}' },
      upstreams: { own: { url: '${URL}', connections: { max: '${MAX}' } } },
      routes: [
        {
          path: '/g',
          routes: [
            { path: '/*', rateLimit: { max: '${MAX}' }, proxy: { upstream: 'own', preserveHost: '${YES}' } }
          ]
        },
        { path: '/status', cors: '${NO}', respond: { status: '${STATUS}' } }
      ]
    }
    const url = await upstream(t)
    const env = { NONE: 'false', MAX: '7', YES: 'true', NO: 'false', STATUS: '202', URL: url }
    const { url: own } = await listening(t, config, { env })
    const { text, headers } = await ask(`${own}/g/x`, { method: 'POST', body: 'x'.repeat(2_000_000) })
    t.equal(headers.get('ratelimit-policy'), '"default";q=7;w=60')
    t.equal((JSON.parse(text) as Seen).headers['host'], new URL(own).host)
    t.equal((await ask(`${own}/status`)).status, 202)
  })

  const missing: InvalidConfig[] = [
    {
      name: 'a missing variable',
      config: '{\n  "routes": [ { "path": "/a", "respond": { "body": "${NOPE}" } } ] }',
      faults: [
        'gateway.json:2:44 routes[0].respond.body: The environment variable NOPE is not set; set it, or write ${NOPE:-fallback}'
      ]
    },
    {
      name: 'a missing variable in a required option',
      config:
        '{ "upstreams": { "a": { "url": "${NOPE}" } }, "routes": [ { "path": "/a", "proxy": { "upstream": "${NOPE}" } } ] }',
      faults: [
        /upstreams\.a\.url: The environment variable NOPE is not set/,
        /routes\[0\]\.proxy\.upstream: The environment variable NOPE is not set/
      ]
    },
    {
      name: 'a missing file',
      config: '{ "routes": [ { "path": "/a", "respond": { "body": "${file:nope.txt}" } } ] }',
      faults: [/routes\[0\]\.respond\.body: There is no file nope\.txt$/]
    },
    {
      name: 'an invalid name',
      config: '{ "routes": [ { "path": "/a", "respond": { "body": "${my-name}" } } ] }',
      faults: [/routes\[0\]\.respond\.body: expected \$\{NAME\}, .*, got "\$\{my-name\}"$/]
    },
    {
      name: 'an unclosed brace',
      config: '{ "routes": [ { "path": "/a", "respond": { "body": "${NAME" } } ] }',
      env: { NAME: 'ada' },
      faults: [/has an unclosed "\$\{"; "\$\$\{" is a literal "\$\{"$/]
    },
    {
      name: 'a variable of the wrong type',
      config: '{ "routes": [ { "path": "/a", "respond": { "status": "${S}" } } ] }',
      env: { S: 'ok' },
      faults: [/routes\[0\]\.respond\.status: expected a whole number.*, got "\$\{S\}"/]
    },
    {
      name: 'a number with a variable as a part',
      config: '{ "routes": [ { "path": "/a", "respond": { "status": "2${S}" } } ] }',
      env: { S: '00' },
      faults: [/routes\[0\]\.respond\.status: expected a whole number.*, got "2\$\{S\}"/]
    },
    {
      name: 'a variable as a key',
      config: '{ "${WORD}": {}, "routes": [] }',
      env: { WORD: 'limits' },
      faults: [/^gateway\.json:1:3 \["\$\{WORD\}"\]: Unknown option "\$\{WORD\}"/]
    }
  ]
  for (const each of missing) checkFaults(t, { ...each, name: `rejects ${each.name}` })
})

rejects('names the environment variable of an invalid value', [
  {
    name: 'SESSION_SECRET',
    config: '{ "auth": { "session": true, "users": { "list": [] } }, "routes": [] }',
    env: { SESSION_SECRET: 'short-one' },
    faults: [
      /^gateway\.json SESSION_SECRET in the environment: expected a session secret of 32 characters or more/
    ],
    hidden: 'short-one'
  },
  {
    name: 'SESSION_SECRET beside other options of the session',
    config: '{ "session": { "idle": "5m" }, "routes": [] }',
    env: { SESSION_SECRET: 'short-one' },
    faults: [/^gateway\.json SESSION_SECRET in the environment: /]
  },
  {
    name: 'REDIS_URL',
    config: '{ "routes": [] }',
    env: { REDIS_URL: 'no-url' },
    faults: [/^gateway\.json REDIS_URL in the environment: expected /]
  }
])
