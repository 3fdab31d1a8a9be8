import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'jsonc-parser'
import t from 'tap'
import { catalog } from '../../../src/gateway/catalog.ts'
import { type FormatName, importFile } from '../../../src/import/index.ts'
import { sallyport } from '../../helpers.ts'
import { expectAll, translated } from './translated.ts'

// Many processes, one after the other.
t.setTimeout(600_000)

const SOURCE = 'server {\n  location /a/ {\n    proxy_pass http://127.0.0.1:4001;\n  }\n}\n'

t.test('import prints a config with a summary, and check accepts it', async (t) => {
  const cwd = t.testdir({ 'nginx.conf': SOURCE })
  const printed = await sallyport(['import', 'nginx', 'nginx.conf'], { cwd })
  t.match(printed, { code: 0, stderr: /^translated \d+ of \d+ constructs\n$/ })
  t.match(printed.stdout, /^\/\/ Translated from nginx\.conf by "sallyport import nginx"/)
  t.match(await sallyport(['import', 'nginx', 'nginx.conf', '-o', 'gateway.json'], { cwd }), {
    code: 0,
    stdout: ''
  })
  t.equal(readFileSync(join(cwd, 'gateway.json'), 'utf8'), printed.stdout)
  t.match(await sallyport(['check'], { cwd }), { code: 0, stdout: /gateway\.json is valid/ })
})

t.test('import never overwrites a file', async (t) => {
  const cwd = t.testdir({ 'nginx.conf': SOURCE, 'gateway.json': 'mine' })
  t.match(await sallyport(['import', 'nginx', 'nginx.conf', '-o', 'gateway.json'], { cwd }), {
    code: 1,
    stderr: 'There is a gateway.json already; nothing was written\n'
  })
  t.equal(readFileSync(join(cwd, 'gateway.json'), 'utf8'), 'mine')
})

t.test('import says what a command line lacks', async (t) => {
  const cwd = t.testdir({ 'nginx.conf': SOURCE })
  for (const { args, stderr } of [
    { args: ['nginx'], stderr: /^expected a file; usage: sallyport import nginx/ },
    { args: ['apache', 'nginx.conf'], stderr: /^expected one of nginx.*, got "apache"; usage: / },
    {
      args: ['nginx', 'nginx.conf', '-o', 'gateway.ts'],
      stderr: /^--output: expected a name that ends in \.json/
    }
  ])
    t.match(await sallyport(['import', ...args], { cwd }), { code: 2, stderr, stdout: '' }, args.join(' '))
})

t.test(
  'a refusal by $host of nginx closes its server, since `when` compares the header as it is',
  async (t) => {
    const cwd = t.testdir({
      'refuse.conf':
        'server {\n  if ($host = admin.example) { return 403; }\n  location / { return 200 in; }\n}\n',
      'redirect.conf':
        'server {\n  if ($host = www.example) { return 301 https://example/; }\n  location / { return 200 in; }\n}\n'
    })
    const made = async (file: string): Promise<string> =>
      (await importFile('nginx', join(cwd, file), catalog)).text
    t.notMatch(await made('refuse.conf'), /"body": "in"/)
    t.match(await made('redirect.conf'), /"body": "in"/)
  }
)

t.test('a source that is no config of the format is an error with its place', async (t) => {
  const cwd = t.testdir({
    'open.conf': 'server {\n  listen 80;\n',
    'empty.conf': ' \n',
    'bytes.conf': Buffer.from([0x7f, 0x45, 0, 1]),
    'latin1.conf': Buffer.from('server {\n# caf\u00e9\n}\n', 'latin1'),
    'loop.conf': 'http {\n  include loop.conf;\n}\n',
    'none.conf.d': {},
    'other.conf': 'daemon off;\n',
    'deep.conf': 'a {\n'.repeat(1000),
    'deep.json': `{"endpoints":\n${'['.repeat(200_000)}`,
    'deep.yml': `http:\n  routers: ${'{ a: '.repeat(5000)}`,
    'list.yml': '- 1\n',
    'bomb.yml': `http: {}\na: &a [${'x,'.repeat(20)}]\nb: &b [${'*a,'.repeat(20)}]\nc: &c [${'*b,'.repeat(20)}]\nd: [${'*c,'.repeat(20)}]\n`,
    'rule.yml': 'http:\n  routers:\n    a:\n      rule: "Host(`a"\n',
    Caddyfile: ':80 {\n  handle {\n',
    'caddy.json': '{\n  "apps": {}\n}\n',
    Loop: 'import Loop\n:80 {\n  respond 200\n}\n',
    'parts.conf': 'server {\n  include marks.conf;\n}\n',
    'folder.conf': 'http {\n  include none.conf.d;\n}\n',
    'big.conf': 'http {\n  include long.conf;\n}\n',
    'marks.conf': 'server { server_name \uE000A\uE001; }\n',
    'long.conf': `# ${'x'.repeat(1024 * 1024)}\n`
  })
  symlinkSync('loop', join(cwd, 'loop'))
  for (const { format = 'nginx', file, message } of [
    { file: 'open.conf', message: /open\.conf:2: expected "}", got the end of the file$/ },
    { file: 'empty.conf', message: /empty\.conf: expected a config, got an empty file$/ },
    { file: 'bytes.conf', message: /bytes\.conf: expected text in UTF-8/ },
    { file: 'long.conf', message: /long\.conf: expected at most 1 MB, got more$/ },
    { file: 'none.conf', message: /^There is no file .*none\.conf$/ },
    { file: 'none.conf.d', message: /^expected a file, got the folder .*none\.conf\.d$/ },
    { file: 'loop', message: /^The file .*loop can't be read \(ELOOP\)$/ },
    { file: 'latin1.conf', message: /latin1\.conf:2: expected text in UTF-8, got other bytes$/ },
    { file: 'marks.conf', message: /marks\.conf: expected text, got a character of the private use area/ },
    { file: 'parts.conf', message: /marks\.conf: expected text, got a character of the private use area/ },
    { file: 'folder.conf', message: /none\.conf\.d: expected a file, got a folder or a device$/ },
    { file: 'big.conf', message: /long\.conf: expected at most 1 MB, got more$/ },
    {
      file: 'loop.conf',
      message: /loop\.conf:2: expected at most 8 files that include each other, got more$/
    },
    { file: 'other.conf', message: /other\.conf: expected a config of nginx with a "server", got none$/ },
    { file: 'deep.conf', message: /deep\.conf:34: expected at most 32 blocks in each other, got more$/ },
    { format: 'krakend', file: 'deep.json', message: /deep\.json:2: expected at most 64 levels, got more$/ },
    { format: 'traefik', file: 'deep.yml', message: /deep\.yml:2: expected at most 64 levels, got more$/ },
    { format: 'kong', file: 'deep.yml', message: /deep\.yml:2: expected at most 64 levels, got more$/ },
    { format: 'kong', file: 'list.yml', message: /list\.yml:1: expected an object, got another value$/ },
    { format: 'traefik', file: 'list.yml', message: /list\.yml:1: expected "http" with routers/ },
    { format: 'traefik', file: 'bomb.yml', message: /bomb\.yml:1: Excessive alias count/ },
    { format: 'traefik', file: 'rule.yml', message: /rule\.yml:4: expected a rule such as/ },
    { format: 'caddy', file: 'Caddyfile', message: /Caddyfile:\d: expected "}" for this block/ },
    { format: 'caddy', file: 'caddy.json', message: /caddy\.json: expected a Caddyfile, got JSON/ },
    {
      format: 'caddy',
      file: 'Loop',
      message: /Loop:1: expected at most 500 imports, 8 in each other, got more$/
    },
    { format: 'caddy', file: 'list.yml', message: /list\.yml: expected a site such as/ }
  ])
    await t.rejects(
      importFile(format as FormatName, join(cwd, file), catalog),
      { name: 'ImportError', message },
      `${format} ${file}`
    )
})

t.test('a translation that would be no valid config is closed at its line', async (t) => {
  const cases: readonly [
    format: FormatName,
    source: string,
    notes: readonly (string | RegExp)[],
    config: object
  ][] = [
    [
      'express-gateway',
      'apiEndpoints:\n  a: { paths: "/a/(.*)" }\n  b: { paths: /a/b }\n  c: { paths: /c, host: "a b" }\nserviceEndpoints: { s: { url: "http://s:1" } }\npipelines:\n  p: { apiEndpoints: [a, b, c], policies: [{ proxy: [{ action: { serviceEndpoint: s } }] }] }\n',
      [
        /^2 the path \/a\/\(\.\*\); closed until you have translated it$/,
        /^3 an endpoint behind an earlier one that takes its requests; closed/,
        /^4 host: expected a host name .*; closed until you have mended it$/
      ],
      {
        routes: [
          { path: '/a/*', respond: { status: 403 } },
          { path: '/a/b', respond: { status: 403 } }
        ]
      }
    ],
    [
      'express-gateway',
      'apiEndpoints:\n  a: { paths: /a }\n  b: { paths: /b }\nserviceEndpoints:\n  s: { url: "ftp://s" }\n  t: { url: "http://t:1" }\npipelines:\n  p: { apiEndpoints: [a], policies: [{ proxy: [{ action: { serviceEndpoint: s } }] }] }\n  q: { apiEndpoints: [b], policies: [{ proxy: [{ action: { serviceEndpoint: t } }] }] }\n',
      [/upstreams\.s\.url: expected a URL .*; closed until you have mended it$/],
      {
        upstreams: { s: undefined, t: {} },
        routes: [
          { path: '/a', respond: { status: 403 } },
          { path: '/b', proxy: {} }
        ]
      }
    ],
    [
      'nginx',
      'server {\n  location ~ ^/a/(\\d+)$ { proxy_pass http://a:1; }\n  location ~ ^/a/([0-9]+)$ {\n    proxy_pass http://b:1; auth_basic "x"; auth_basic_user_file users; }\n}\n',
      [],
      { routes: [{}] }
    ]
  ]
  for (const [format, source, notes, config] of cases) {
    const file = join(t.testdir({ source }), 'source')
    const { text, translation } = await importFile(format, file, catalog)
    t.match(
      translation.notes.map(({ line, text: note }) => `${line} ${note}`),
      notes
    )
    t.match(parse(text), config)
  }
})

t.test('the keys of hashes and the ports of health checks are those of the source', async (t) => {
  const nginx = (key: string): string =>
    `upstream up {\n  hash ${key} consistent;\n  server a:1;\n  server b:1;\n}\nserver {\n  location / { proxy_pass http://up; }\n}\n`
  const kong = (on: string): string =>
    `_format_version: "3.0"\nservices:\n- { name: a, host: up, routes: [{ name: r, paths: [/a] }] }\nupstreams:\n- { name: up, ${on}, targets: [{ target: "a:1" }, { target: "b:1" }] }\n`
  const caddy = (line: string): string => `:80 {\n  reverse_proxy a:1 b:1 {\n    ${line}\n  }\n}\n`
  const traefik =
    'http:\n  routers: { r: { rule: "Path(`/`)", service: s } }\n  services: { s: { loadBalancer: { servers: [{ url: "http://a:1" }, { url: "http://b:1" }], healthCheck: { path: /up, port: 81 } } } }\n'
  const cases: [format: FormatName, source: string, has: object][] = [
    ['nginx', nginx('$request_uri'), { balance: 'hash', hashOn: 'url' }],
    ['nginx', nginx('$uri'), { balance: 'hash', hashOn: 'path' }],
    ['nginx', nginx('$arg_room'), { balance: 'hash', hashOn: 'query:room' }],
    ['kong', kong('hash_on: path'), { balance: 'hash', hashOn: 'path' }],
    ['kong', kong('hash_on: query_arg, hash_on_query_arg: room'), { balance: 'hash', hashOn: 'query:room' }],
    ['caddy', caddy('lb_policy uri_hash'), { balance: 'hash', hashOn: 'url' }],
    ['caddy', caddy('lb_policy query room'), { balance: 'hash', hashOn: 'query:room' }],
    ['caddy', caddy('health_uri /up\n    health_port 81'), { health: { path: '/up', port: 81 } }],
    ['traefik', traefik, { health: { path: '/up', port: 81 } }]
  ]
  for (const [format, source, has] of cases) {
    const file = join(t.testdir({ source }), 'source')
    const { text, translation } = await importFile(format, file, catalog)
    t.match(Object.values((parse(text) as { upstreams: object }).upstreams)[0], has, source)
    t.strictSame(translation.notes, [], source)
  }
})

t.test('paths that an expression rewrites are those that the source sends on', async (t) => {
  const traefik = (regex: string, replacement: string): string =>
    `http:\n  routers: { r: { rule: "PathPrefix(\`/api\`)", service: s, middlewares: [m] } }\n  middlewares: { m: { replacePathRegex: { regex: "${regex}", replacement: "${replacement}" } } }\n  services: { s: { loadBalancer: { servers: [{ url: "http://127.0.0.1:4001" }] } } }\n`
  const caddy = (line: string): string =>
    `:80 {\n  handle /api/* {\n    ${line}\n    reverse_proxy 127.0.0.1:4001\n  }\n}\n`
  const kong = (uri: string, base = ''): string =>
    `_format_version: "3.0"\nservices:\n- name: a\n  url: http://127.0.0.1:4001${base}\n  routes:\n  - name: r\n    paths: ["~/api/(?<id>\\\\d+)$"]\n    plugins:\n    - { name: request-transformer, config: { replace: { uri: "${uri}" } } }\n`
  const cases: [format: FormatName, source: string, url: string, path: string | undefined][] = [
    ['traefik', traefik('^/api/(.*)', '/$1'), '/api/a?b=c', '/a?b=c'],
    ['traefik', traefik('^/api/(.*)', '/$1'), '/apiary/a', '/apiary/a'],
    ['traefik', traefik('^/api(/|$)(.*)', '/v2/$2'), '/api/a/b', '/v2/a/b'],
    ['traefik', traefik('^/api(/|$)(.*)', '/v2/$2'), '/apiary/b', '/apiary/b'],
    ['traefik', traefik('^/api/?(.*)', '/$1'), '/api/a', '/a'],
    ['traefik', traefik('^/api/?(.*)', '/$1'), '/apiary', undefined],
    ['traefik', traefik('^/api(/.*)', '$1'), '/api/a', '/a'],
    ['traefik', traefik('/api/(.*)', '/$1'), '/apiary/a', undefined],
    ['traefik', traefik('^/api/v(.*)', '/$1'), '/api/v1', undefined],
    ['traefik', traefik('^/api/(.*)', '/$2'), '/api/a', undefined],
    ['caddy', caddy('uri path_regexp ^/api/(.*)$ /v2/$1'), '/api/a', '/v2/a'],
    ['caddy', caddy('uri path_regexp ^/api/x/(.*)$ /v2/$1'), '/api/a', undefined],
    ['caddy', caddy('uri replace a b'), '/api/a', undefined],
    ['kong', kong('/item/$(uri_captures.id)/x'), '/api/7', '/item/7/x'],
    ['kong', kong('/item/$(uri_captures.id)', '/base'), '/api/7', undefined],
    ['kong', kong('/item?id=7'), '/api/7', undefined]
  ]
  for (const [format, source, url, path] of cases)
    await expectAll(t, await translated(t, format, source), [
      path === undefined ? { url, status: 403 } : { url, status: 200, path }
    ])
})
