import { readdirSync, readFileSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Entry, sidebar } from '../docs/.vitepress/contents.ts'
import { showFault } from '../src/config/fault.ts'
import { lint } from '../src/config/lint.ts'
import { buildGateway, loadConfig } from '../src/index.ts'
import { referencePages } from '../tools/reference.ts'
import { SECRET } from './helpers.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(top, file), 'utf8')
const below = (folder: string, ending: string): string[] =>
  readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .filter((name) => !name.includes('node_modules'))
    // A template of the site.
    .filter((name) => !name.startsWith('source/['))
    .map((name) => join(folder, name))

const pages = [
  'README.md',
  ...below('docs', '.md'),
  ...['src', 'plugins', 'routes', 'test', 'examples', 'bench', 'deploy'].flatMap((folder) =>
    below(folder, 'README.md')
  )
]

/** What the examples ask of the environment. */
const env = {
  SESSION_SECRET: SECRET,
  OIDC_SECRET: 'a secret of the client',
  CROWDSEC_KEY: 'a key of the gateway',
  SERVICE_KEY: 'a key of the gateway',
  OLD_SESSION_SECRET: `${SECRET}, an older one`,
  PASSWORD: 'lovelace',
  PARTNER_KEY: 'a key of a partner',
  ORDERS_URL: 'http://127.0.0.1:4003',
  LLM_KEY: 'a key of a provider',
  EAB_KEY_ID: 'key-1',
  EAB_HMAC_KEY: 'a2V5',
  RATE: '100'
}

/** The files that the examples name, beside their config. */
const files = {
  'users.json': '[{ "name": "ada", "secret": "lovelace" }]',
  'keys.json': `[{ "id": "alice", "key": "sha256:${'0'.repeat(64)}" }]`,
  'blocked.txt': '192.0.2.7\n',
  'office.txt': '192.0.2.0/24\n',
  'internal-ca.pem': '',
  'shop.yaml': 'openapi: "3.1.0"\n',
  'favicon.ico': '',
  'security.txt': '',
  dist: { 'index.html': '' },
  teams: {
    'shop.json': '{ "routes": [{ "path": "/cart", "proxy": { "upstream": "http://127.0.0.1:4004" } }] }'
  },
  secrets: { session: SECRET }
}

t.test('every config in the documentation is sound', async (t) => {
  // Those of a package need it installed; test/plugin-examples.test.ts runs it.
  for (const page of pages.filter((each) => !each.startsWith('examples/plugin-'))) {
    const configs = [...read(page).matchAll(/```(jsonc?|yaml)\n(.*?)```/gs)].filter(([, kind, text = '']) =>
      kind === 'yaml' ? /^routes:/m.test(text) : text.includes('"routes"') && text.startsWith('{')
    )
    for (const [i, [, kind, text = '']] of configs.entries())
      t.test(`${page}, example ${i + 1}`, async (t) => {
        const name = kind === 'yaml' ? 'gateway.yaml' : 'gateway.json'
        const tenant = `export * from ${JSON.stringify(join(top, 'examples/extensions/tenant.ts'))}
export { default } from ${JSON.stringify(join(top, 'examples/extensions/tenant.ts'))}`
        const folder = t.testdir({ ...files, 'tenant.ts': tenant, [name]: text })
        const loaded = loadConfig(join(folder, name), env)
        await t.resolves(loaded)
        if (!/coming-from|agents/.test(page)) return
        const plan = await loaded
        const app = await buildGateway(plan)
        t.teardown(() => app.close())
        const { warnings } = lint(plan, app.routeInfos, {
          workers: 1,
          pairs: app.ambiguousPairs(),
          descriptors: undefined
        })
        t.strictSame(warnings.map(showFault), [], 'check --strict has no warning')
      })
  }
})

/** Returns the anchors of a page, as GitHub and the site make them of its headings. */
const anchorsOf = (page: string): Set<string> =>
  new Set(
    [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-')
    )
  )

t.test('every link of the documentation leads to a file, and to a heading in it', async (t) => {
  for (const page of pages)
    for (const [, link = '', anchor] of read(page).matchAll(/\]\(([^)#]*)(?:#([^)]*))?\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const file = link === '' ? page : join(dirname(page), link)
      await t.resolves(access(join(top, file)), `${page}: ${link}`)
      if (anchor !== undefined && file.endsWith('.md'))
        t.ok(anchorsOf(file).has(anchor), `${page}: ${link}#${anchor}, a heading that does not exist`)
    }
})

t.test('every block of code has a language that the site can highlight', async (t) => {
  const known = /^(bash|console|css|diff|html|http|ini|js|json|jsonc|nginx|sh|text|toml|ts|txt|yaml)$/
  for (const page of pages)
    for (const [, language = ''] of read(page).matchAll(/^ *```(\w+)/gm))
      t.match(language, known, `${page}: the site fails for an unknown language; use txt`)
})

t.test('the reference is that of the schema', async (t) => {
  const written = new Map(below('docs/reference', '.md').map((page) => [page.slice(15), read(page)]))
  for (const [name, text] of referencePages())
    t.equal(
      written.get(name),
      text,
      `docs/reference/${name}: run "npm run docs:reference" and commit the file`
    )
  t.strictSame([...written.keys()].toSorted(), [...referencePages().keys()].toSorted())
})

t.test('the table of errors has every code of the source, once, with its status', async (t) => {
  const source = ['src', 'plugins', 'routes']
    .flatMap((folder) => below(folder, '.ts'))
    .map(read)
    .join('\n')
  const codes = new Set(source.match(/\bSP_ERR_[A-Z_]+[A-Z]\b/g))
  const statuses = new Map(
    [...source.matchAll(/createError(?:<[^>]*>)?\(\s*'(SP_ERR_\w+)',\s*(?:'[^']*'|"[^"]*"),\s*(\d{3})/g)].map(
      ([, code = '', status = '']) => [code, status]
    )
  )
  const rows = [
    ...read('docs/errors.md').matchAll(/^\| `(SP_ERR_\w+)` \| (\d{3}|—) \| [^|]+ \| [^|]+ \|$/gm)
  ].map(([, code = '', status = '']) => ({ code, status }))
  t.same(
    rows.map(({ code }) => code).toSorted(),
    [...codes].toSorted(),
    'docs/errors.md: one row a code, in the form | `SP_ERR_X` | 404 | what it means | what to do |'
  )
  for (const { code, status } of rows) t.equal(status, statuses.get(code) ?? '—', `${code}: the status`)
})

t.test(
  'the page of warnings has every code of the source, once, with its severity and its parts',
  async (t) => {
    const rules = new Map<string, string>()
    for (const file of ['src', 'plugins', 'routes'].flatMap((folder) => below(folder, '.ts'))) {
      const text = read(file)
      const defined = [
        ...text.matchAll(
          /defineWarning\(\s*'(SP_WARN_[A-Z0-9_]+)',\s*'(high|medium|low)',\s*'((?:[^'\\]|\\.)+)'\s*\)/g
        )
      ]
      t.equal(
        defined.length,
        [...text.matchAll(/= defineWarning\(/g)].length,
        `${file}: defineWarning takes a code, a severity and a title, as literals`
      )
      const key = /^(?:plugins|routes)\/([\w-]+)/.exec(file)?.[1]?.replaceAll('-', '_').toUpperCase()
      for (const [, code = '', severity = '', title = ''] of defined) {
        t.notOk(rules.has(code), `${code} is defined once`)
        // The contract has this one without the key of its concern.
        if (key !== undefined && code !== 'SP_WARN_PUBLIC_BESIDE_PROTECTED')
          t.ok(code.startsWith(`SP_WARN_${key}_`), `${file}: ${code} begins with SP_WARN_${key}_`)
        rules.set(code, `**${severity.charAt(0).toUpperCase()}${severity.slice(1)}:** ${title}.`)
      }
    }
    const [, ...sections] = read('docs/warnings.md').split(/^## (?=SP_WARN_)/m)
    const documented = sections.map((section) => /^\w+/.exec(section)?.[0] ?? '')
    t.strictSame(documented, [...rules.keys()].toSorted(), 'docs/warnings.md: one heading a code, in order')
    for (const section of sections) {
      const code = /^\w+/.exec(section)?.[0] ?? ''
      t.ok(section.startsWith(`${code}\n\n${rules.get(code)}\n\n`), `${code}: begins with ${rules.get(code)}`)
      for (const part of ['Why', 'Instead', 'Accept it'])
        t.match(section, new RegExp(`^- ${part}: \\S`, 'm'), `${code}: says "${part}"`)
    }
  }
)

/** What has to exist where the comparison says that this gateway has it: a file, or an option in the schema. */
const BUILT: Readonly<Record<string, string>> = {
  'Routes are configuration': 'src/config/load.ts',
  'Header matching': '"when"',
  'Config checked before it runs': 'src/commands/check.ts',
  'Schema for editors': 'gateway.schema.json',
  'Explain, test and diff of a config': 'src/commands/explain.ts',
  'Reload without a lost request': 'src/process/engine.ts',
  'Drain on SIGTERM': 'src/process/engine.ts',
  'Log-in with sessions, local users': '"session"',
  'API keys': '"apiKeys"',
  JWT: '"jwt"',
  'OIDC log-in': '"oidc"',
  'Agents: protected resource metadata (RFC 9728)': '"resource"',
  'Rate limits': '"rateLimit"',
  'Token bucket, sliding window': '"tokenBucket"',
  'Limit of requests in flight': '"maxInFlight"',
  'Several limits on one route, limits by role': '"tiers"',
  'Shared counters (Redis)': '"redis"',
  'CORS, preflights included': '"cors"',
  'Security headers': '"securityHeaders"',
  'CSRF protection of sessions': '"csrf"',
  'Any gate in report mode': '"mode"',
  'OpenAPI validation': '"undeclared"',
  'Streaming of bodies both ways': 'routes/proxy/exchange.ts',
  'Several targets, weighted': '"weight"',
  'Health checks, retries': '"health"',
  'Circuit breaker': '"breaker"',
  WebSocket: '"websocket"',
  gRPC: 'docs/grpc.md',
  'TLS, HTTP/2': '"tls"',
  'Client certificates': '"clientCertificates"',
  'HTTP/3': '"http3"',
  'Certificates by ACME': '"acme"',
  'All cores, one port': 'docs/workers.md',
  'Metrics (Prometheus)': '"metrics"',
  Dashboard: 'docs/dashboard.md',
  'Tracing (OpenTelemetry)': '"tracing"',
  Compression: '"compress"',
  'Change of JSON bodies, XML to JSON': '"transform"',
  'Response cache': '"cache"',
  'Aggregation with partial failure': '"aggregate"',
  'Static files': '"files"'
}

t.test('the comparison says of this gateway what is built, and has a cell in each column', async (t) => {
  const rows = [...read('README.md').matchAll(/^\| ?(.*) \|$/gm)]
    .map(([, row = '']) => row.split(/ ?\| /))
    .filter((cells) => cells.length > 5)
  const [head = [], ...cells] = rows
  const schema = read('gateway.schema.json')
  for (const [label = '', own = '', ...others] of cells) {
    t.equal(others.length, head.length - 2, `${label}: a cell in each column`)
    if (label === 'Written in, extended in' || label === 'Maintained') continue
    const evidence = BUILT[label]
    if (evidence === undefined) {
      t.fail(`${label}: name what proves it in BUILT`)
      continue
    }
    const isBuilt = evidence.startsWith('"')
      ? schema.includes(evidence)
      : await access(join(top, evidence)).then(
          () => true,
          () => false
        )
    t.equal(
      !/^(planned|no\b)/.test(own),
      isBuilt,
      `${label}: "${own}", and ${evidence} is ${isBuilt ? '' : 'not '}there`
    )
  }
  t.equal(cells.length, Object.keys(BUILT).length + 2)
})

t.test('docs/scale.md has the costs of bench/results.json', async (t) => {
  const { results } = JSON.parse(read('bench/results.json')) as {
    results: { name: string; workload: string; cpuPerRequest: number; megabytes: number }[]
  }
  const page = read('docs/scale.md')
  const rows: [label: string, name: string, workload: string][] = [
    ['a route', 'Sallyport, a route', '1 KB answers'],
    ['all concerns', 'Sallyport, all concerns', '1 KB answers'],
    ['all and a JWT', 'Sallyport, all and a JWT', '1 KB answers'],
    ['all and an API key', 'Sallyport, all and an API key', '1 KB answers'],
    ['10,000 routes', 'Sallyport, 10,000 routes', '1 KB answers'],
    ['answers of 1 MB', 'Sallyport, all concerns', '1 MB answers'],
    ['uploads of 1 MB', 'Sallyport, all concerns', '1 MB uploads']
  ]
  for (const [label, name, workload] of rows) {
    const found = results.find((each) => each.name === name && each.workload === workload)
    const cells = new RegExp(`^\\| ${label} \\| (.*) \\|$`, 'm').exec(page)?.[1]?.split(' | ') ?? []
    const [cost = 0, most = 0, plan = 0, memory = 0] = cells.map((cell) => Number(cell.replace(/,| MB/g, '')))
    t.equal(cost, found?.cpuPerRequest, `${label}: CPU`)
    t.ok(Math.abs((most * cost) / 1e6 - 1) < 0.01, `${label}: ${most} is a million by the cost`)
    t.ok(Math.abs(plan / most / 0.6 - 1) < 0.05, `${label}: ${plan} is 60 % of that`)
    t.ok(Math.abs(memory - (found?.megabytes ?? 0)) <= 5, `${label}: memory`)
  }
})

t.test('every page is in the table of contents', async (t) => {
  const contents = read('docs/README.md')
  const decisions = read('docs/decisions/README.md')
  for (const page of below('docs', '.md'))
    if (page.startsWith('docs/decisions/') && page !== 'docs/decisions/README.md')
      t.ok(
        decisions.includes(`(${page.slice(15)})`),
        `docs/decisions/README.md has a link to ${page.slice(15)}`
      )
    else if (page.startsWith('docs/reference/') && page !== 'docs/reference/README.md')
      t.ok(read('docs/reference/README.md').includes(`(${page.slice(15)})`), page)
    else if (page !== 'docs/README.md' && page !== 'docs/index.md')
      t.ok(contents.includes(`(${page.slice(5)})`), `docs/README.md has a link to ${page.slice(5)}`)
})

t.test('the sidebar of the site has every page of the table of contents', async (t) => {
  const linksOf = ({ link, items = [] }: Entry): string[] => [
    ...(link === undefined ? [] : [link]),
    ...items.flatMap(linksOf)
  ]
  const links = sidebar().flatMap(linksOf)
  for (const page of [...below('docs', '.md'), ...below('docs/reference', '.md')]) {
    if (page.startsWith('docs/decisions/') || ['docs/README.md', 'docs/index.md'].includes(page)) continue
    t.ok(
      links.includes(`/${page.slice(5).replace(/(?:README)?\.md$/, '')}`),
      `${page}: give it a line "- [Title](${page.slice(5)})" in docs/README.md`
    )
  }
  t.strictSame(
    sidebar().map(({ text }) => text),
    ['Tutorial', 'Guides', 'Reference', 'Explanation']
  )
})

t.test('every source file that src/README.md and the decisions name exists', async (t) => {
  for (const page of ['src/README.md', ...below('docs/decisions', '.md')])
    for (const [, file = ''] of read(page).matchAll(/`((?:\.\.\/|[a-z][\w-]*\/)[\w./-]*(?:\/|\.ts))`/g))
      await t.resolves(
        access(join(top, page.startsWith('src/') ? 'src' : '', file)).catch(() => access(join(top, file))),
        `${page} names ${file}; name the file that has it now`
      )
})
