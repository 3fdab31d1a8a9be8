import { createServer, request as sendRequest } from 'node:http'
import t from 'tap'
import { stage } from '../admin.ts'
import { ask, originOf, running, upstream } from '../helpers.ts'

const TOKEN = 'a token of the tests'
const JSON_TYPE = { 'content-type': 'application/json' }
const AUTHORIZED = { ...JSON_TYPE, authorization: `Bearer ${TOKEN}` }

/** Sends an action with the token. */
async function act(admin: string, path: string, body: object): Promise<{ status: number; body: Answer }> {
  const { status, text } = await ask(`${admin}/${path}`, {
    method: 'POST',
    headers: AUTHORIZED,
    body: JSON.stringify(body)
  })
  return { status, body: JSON.parse(text) as Answer }
}

interface Answer {
  readonly code?: string
  readonly detail?: string
  readonly faults?: string[]
}

/** What the page reads of the figures. */
interface Figures {
  readonly mark: string
  readonly full: boolean
  readonly mayAct: boolean
  readonly bounds: number[] | null
  readonly requests: number
  readonly refused: { client: number; server: number }
  readonly totals: { responses: number[]; durations: number[] }
  readonly routes: { name: string; responses: number[]; durations: number[]; limits: object[] }[]
  readonly upstreams: { name: string; targets: { name: string; drained: boolean; ready: boolean }[] }[]
  readonly caches: { name: string; results: Record<string, number> }[]
  readonly refusals: { code: string; route: string; gate: string; count: number; from: string | null }[]
}

/** Reads JSON of the admin listener. */
const read = async <T>(admin: string, path: string): Promise<T> =>
  JSON.parse((await ask(`${admin}/${path}`, { headers: AUTHORIZED })).text) as T

/** Starts targets that answer with their number, and returns their origins. */
const numberedTargets = (t: Parameters<typeof upstream>[0], count: number): Promise<string[]> =>
  Promise.all(
    Array.from({ length: count }, (_, i) => upstream(t, (_request, response) => void response.end(String(i))))
  )

/** Returns which targets answer some requests. */
async function answering(url: string): Promise<string[]> {
  const answers = new Set<string>()
  for (let i = 0; i < 6; i++) answers.add((await ask(url)).text)
  return [...answers].toSorted()
}

t.test('shows browsers a page with a strict policy, and other clients a list of paths', async (t) => {
  for (const token of [undefined, TOKEN])
    t.test(token === undefined ? 'without a token' : 'with a token', async (t) => {
      const { admin } = await stage(t, { routes: [] }, token === undefined ? {} : { token })
      for (const accept of ['*/*', 'text/plain', 'application/json']) {
        const { status, headers, text } = await ask(`${admin}/`, { headers: { accept } })
        t.equal(status, 200)
        t.match(headers.get('content-type'), /^text\/plain/, accept)
        for (const path of ['/metrics', '/status', '/config', 'POST /purge', 'POST /drain'])
          t.ok(text.split('\n').includes(path), path)
      }
      const { headers, text } = await ask(`${admin}/`, {
        headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
      })
      t.match(headers.get('content-type'), /^text\/html/)
      const policy = headers.get('content-security-policy') ?? ''
      t.match(policy, /default-src 'none'/)
      t.match(policy, /script-src 'self'(;|$)/)
      t.match(policy, /style-src 'self'(;|$)/)
      t.match(policy, /frame-ancestors 'none'/)
      t.notMatch(policy, /unsafe|https?:|data:/)
      t.notMatch(
        text,
        /<script(?![^>]*src=)|\bstyle=|https?:/,
        'no inline script or style, and nothing from outside'
      )
      const files = [...text.matchAll(/(?:src|href)="(dashboard\/[^"]+)"/g)].map(([, file = '']) => file)
      t.ok(files.length >= 3)
      const { text: script } = await ask(`${admin}/dashboard/app.js`)
      for (const file of [
        ...files,
        ...[...script.matchAll(/from '\.\/([^']+)'/g)].map(([, file]) => `dashboard/${file}`),
        ...['preact.js', 'htm.js', 'uplot.js'].map((file) => `dashboard/${file}`)
      ]) {
        const { status, headers } = await ask(`${admin}/${file}`)
        t.equal(status, 200, file)
        t.match(headers.get('content-type'), /^(text\/(javascript|css); charset=utf-8|image\/svg\+xml)$/)
        const again = await ask(`${admin}/${file}`, {
          headers: { 'if-none-match': headers.get('etag') ?? '' }
        })
        t.equal(again.status, 304)
      }
      t.equal((await ask(`${admin}/dashboard/index.html`)).status, token === undefined ? 404 : 401)
      for (const path of ['figures', 'status', 'options', 'limits', 'reloads'])
        t.equal((await ask(`${admin}/${path}`)).status, token === undefined ? 200 : 401, path)
    })
})

t.test('restricts who may act', async (t) => {
  const ACTIONS = {
    drain: { upstream: 'a', target: 'b' },
    undrain: {},
    reload: {},
    'log-level': { level: 'info' }
  }

  t.test('refuses every action without ADMIN_TOKEN, also on the loopback interface', async (t) => {
    const { admin } = await stage(t, { routes: [] }, { purgeToken: 'a token for purges' })
    for (const [path, body] of Object.entries(ACTIONS)) {
      const { status, text } = await ask(`${admin}/${path}`, {
        method: 'POST',
        headers: { ...JSON_TYPE, authorization: 'Bearer a token for purges' },
        body: JSON.stringify(body)
      })
      t.equal(status, 403, path)
      t.match(JSON.parse(text), { code: 'SP_ERR_ADMIN_READ_ONLY', detail: /set ADMIN_TOKEN/ })
    }
    t.match(await read(admin, 'figures'), { mayAct: false })
  })

  t.test('refuses other tokens, pages of other origins, and bodies that are no JSON', async (t) => {
    const { admin, address } = await stage(
      t,
      { routes: [] },
      { token: TOKEN, purgeToken: 'a token for purges' }
    )
    const own = `http://127.0.0.1:${address.port}`
    const cases: [name: string, headers: Record<string, string>, status: number, code?: string][] = [
      ['no token', { authorization: '' }, 401, 'SP_ERR_ADMIN_TOKEN'],
      ['the token for purges', { authorization: 'Bearer a token for purges' }, 401, 'SP_ERR_ADMIN_TOKEN'],
      ['a page of another site', { 'sec-fetch-site': 'cross-site' }, 403, 'SP_ERR_ADMIN_ORIGIN'],
      ['a page of a subdomain', { 'sec-fetch-site': 'same-site' }, 403, 'SP_ERR_ADMIN_ORIGIN'],
      ['another origin', { origin: 'http://127.0.0.1:1' }, 403, 'SP_ERR_ADMIN_ORIGIN'],
      ['no origin', { origin: 'null' }, 403, 'SP_ERR_ADMIN_ORIGIN'],
      ['text', { 'content-type': 'text/plain' }, 415],
      ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
      ['its own page', { origin: own, 'sec-fetch-site': 'same-origin' }, 200],
      ['its own page, over plain HTTP', { origin: own }, 200],
      ['its own page, behind TLS', { origin: own.replace('http:', 'https:') }, 200],
      ['curl', {}, 200]
    ]
    for (const [name, headers, status, code] of cases) {
      const answer = await post(`${admin}/log-level`, { ...AUTHORIZED, ...headers }, '{"level":"info"}')
      t.equal(answer.status, status, name)
      if (code !== undefined) t.match(answer.text, code)
    }
    t.equal((await ask(`${admin}/log-level`, { headers: AUTHORIZED })).status, 404, 'a GET changes nothing')
  })
})

/** Sends a POST with any headers, which `fetch` does not. */
const post = (
  url: string,
  headers: Record<string, string>,
  body: string
): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const request = sendRequest(url, { method: 'POST', headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    request.on('error', reject).end(body)
  })

t.test('drains a target and takes it back', async (t) => {
  const targets = await numberedTargets(t, 2)
  const config = {
    upstreams: { shop: { targets } },
    routes: [{ path: '/', proxy: { upstream: 'shop' } }]
  }
  const { admin, url, engine, write, line } = await stage(t, config, { token: TOKEN })
  const [first = '', second = ''] = targets.map((target) => target.slice(7))
  t.strictSame(await answering(url), ['0', '1'])
  t.match(await act(admin, 'drain', { upstream: 'shop', target: first }), {
    status: 200,
    body: { drained: true }
  })
  t.match(await line(({ action }) => action === 'drain'), {
    level: 'info',
    msg: 'admin action',
    upstream: 'shop',
    target: first,
    ip: '127.0.0.1'
  })
  t.strictSame(await answering(url), ['1'])
  t.match(await read(admin, 'status'), {
    upstreams: [
      {
        targets: [
          { name: first, drained: true, ready: false },
          { name: second, drained: false, ready: true }
        ]
      }
    ]
  })
  t.match((await ask(`${admin}/metrics`, { headers: AUTHORIZED })).text, `target="${first}"} 1`)

  write({ ...config, upstreams: { shop: { targets, balance: 'random', timeout: '7s' } } })
  await engine.reload('a test')
  t.strictSame(await answering(url), ['1'], 'it outlives a reload, also of a changed upstream')

  await act(admin, 'drain', { upstream: 'shop', target: second })
  t.equal((await ask(url)).status, 503, 'no target is left')
  await act(admin, 'undrain', { upstream: 'shop', target: first })
  t.strictSame(await answering(url), ['0'])
  await act(admin, 'undrain', { upstream: 'shop', target: second })

  const faults: [body: object, status: number, code: string, detail: RegExp][] = [
    [{ upstream: 'shoop', target: first }, 404, 'SP_ERR_ADMIN_TARGET', /no upstream is called "shoop"/],
    [{ upstream: 'shop', target: 'x' }, 404, 'SP_ERR_ADMIN_TARGET', /no target of shop is called "x"/],
    [{ upstream: 'shop' }, 400, 'SP_ERR_ADMIN_ACTION', /expected a JSON object with the text "target"/],
    [[], 400, 'SP_ERR_ADMIN_ACTION', /"upstream"/]
  ]
  for (const [body, status, code, detail] of faults)
    t.match(await act(admin, 'drain', body), { status, body: { code, detail } })
})

t.test('changes the level of the log', async (t) => {
  const { admin, engine } = await stage(t, { routes: [] }, { token: TOKEN })
  t.match(await act(admin, 'log-level', { level: 'debug' }), { status: 200, body: { level: 'debug' } })
  t.equal(engine.logLevel, 'debug')
  t.match(await act(admin, 'log-level', { level: 'loud' }), {
    status: 400,
    body: {
      code: 'SP_ERR_ADMIN_ACTION',
      detail: /trace, debug, info, warn, error, fatal, silent, got "loud"/
    }
  })
})

t.test('reloads, and shows what each reload changed', async (t) => {
  const config = {
    upstreams: { shop: { url: 'http://127.0.0.1:9' } },
    headers: { request: { authorization: 'Basic b2xkIHNlY3JldA==' } },
    routes: [
      { name: 'one', path: '/one', proxy: { upstream: 'shop' } },
      { name: 'two', path: '/two', respond: { body: '2' } }
    ]
  }
  const { admin, write } = await stage(t, config, { token: TOKEN })
  t.strictSame(await read(admin, 'reloads'), [])
  write({
    ...config,
    rateLimit: { max: 7 },
    headers: { request: { authorization: 'Basic bmV3IHNlY3JldA==' } },
    routes: [
      { name: 'one', path: '/one', proxy: { upstream: 'shop', timeout: '9s' } },
      { name: 'three', path: '/three', respond: { body: '3' } }
    ]
  })
  t.match(await act(admin, 'reload', {}), { status: 200, body: { outcome: 'taken' } })
  write('{ "routes": [], "rateLimt": {}, "core": {} }')
  const { status, body } = await act(admin, 'reload', {})
  t.equal(status, 422)
  t.match(body, { code: 'SP_ERR_ADMIN_RELOAD', detail: /rateLimt/, faults: [/:1:\d+ rateLimt/, /core/] })
  t.match(await act(admin, 'reload', []), { status: 400, body: { code: 'SP_ERR_ADMIN_ACTION' } })

  const [refused, taken] = await read<{ outcome: string; why: string; diff: string; faults: string[] }[]>(
    admin,
    'reloads'
  )
  t.match(refused, { outcome: 'refused', why: 'the admin listener', diff: '', faults: body.faults })
  t.match(taken, { outcome: 'taken', faults: [] })
  const { diff = '' } = taken ?? {}
  t.match(diff, /^@@ rateLimit @@\n(.*\n)*\+ +"max": 7/m)
  t.match(diff, /^@@ headers @@\n {2}a value changed that is masked$/m)
  t.match(diff, /^@@ route one @@\n(.*\n)*\+ +"timeout": "9s"/m)
  t.match(diff, /^@@ route two @@\n(.*\n)*- +"body": "2"/m)
  t.match(diff, /^@@ route three @@\n(.*\n)*\+ +"body": "3"/m)
  t.notMatch(diff, /b2xk|bmV3/, 'secrets are masked')

  for (let i = 0; i < 22; i++) {
    write({ routes: [{ path: '/', respond: { body: String(i) } }] })
    await act(admin, 'reload', {})
  }
  const all = await read<{ diff: string }[]>(admin, 'reloads')
  t.equal(all.length, 20)
  t.match(all[0]?.diff, /-.*"20"(.*\n)*\+.*"21"/)
})

t.test('bounds the diff of a large change', async (t) => {
  const routes = (body: string): object[] =>
    Array.from({ length: 300 }, (_, i) => ({ name: `r${i}`, path: `/r${i}`, respond: { body: body + i } }))
  const { admin, write } = await stage(t, { routes: routes('a') }, { token: TOKEN })
  write({ routes: routes('b') })
  await act(admin, 'reload', {})
  const [{ diff } = { diff: '' }] = await read<{ diff: string }[]>(admin, 'reloads')
  t.equal(diff.split('\n').length, 401)
  t.match(diff, /\n… and more changes$/)
})

t.test('reports figures: all at first, then what has changed', async (t) => {
  const shop = await upstream(t, (_request, response) => void response.end('ok'))
  const { admin, url } = await stage(t, {
    metrics: true,
    upstreams: { shop: { url: shop } },
    auth: {
      global: false,
      apiKeys: { list: [{ id: 'ada', secret: 'the key of ada' }], from: ['header:x-key'] }
    },
    routes: [
      { name: 'shop', path: '/shop', proxy: { upstream: 'shop' } },
      { name: 'few', path: '/few', rateLimit: { max: 1, window: '1h' }, respond: { body: 'few' } },
      { name: 'mine', path: '/mine', auth: true, respond: { body: 'mine' } }
    ]
  })
  const next = nextFigures(admin)
  const first = await next()
  t.match(first, { full: true, requests: 0, routes: [], refusals: [], mayAct: false })
  t.equal(first.upstreams.length, 1)

  await ask(`${url}/shop`)
  for (let i = 0; i < 3; i++) await ask(`${url}/few?secret=S3CRET`, { headers: { 'x-key': 'S3CRET' } })
  await ask(`${url}/mine`, { headers: { 'x-key': 'S3CRET' } })
  const second = await next()
  t.match(second, { full: false, requests: 5, refused: { client: 3, server: 0 } })
  t.strictSame(
    second.routes.map(({ name, responses }) => [name, responses]),
    [
      ['shop', [0, 1, 0, 0, 0]],
      ['few', [0, 1, 0, 2, 0]],
      ['mine', [0, 0, 0, 1, 0]]
    ]
  )
  t.strictSame(second.routes[1]?.limits, [{ name: 'default', passed: 1, refused: 2 }])
  t.strictSame(second.totals.responses, [0, 2, 0, 3, 0])
  t.equal(
    second.totals.durations.reduce((sum, each) => sum + each, 0),
    5
  )
  t.equal(second.totals.durations.length, (second.bounds?.length ?? 0) + 1)
  const [missing, exceeded] = second.refusals
  t.match(missing, {
    code: /^SP_ERR_AUTH_/,
    route: 'mine',
    gate: 'auth',
    count: 1,
    from: /gateway\.json:1:\d+$/
  })
  t.match(exceeded, {
    code: 'SP_ERR_RATE_LIMIT_EXCEEDED',
    route: 'few',
    gate: 'rateLimit',
    count: 2,
    from: /gateway\.json:1:\d+$/
  })
  t.not(missing?.from, exceeded?.from)
  t.notMatch(JSON.stringify(second), /S3CRET/, 'nothing of a request is shown')

  await ask(`${url}/shop`)
  const third = await next()
  t.strictSame(
    third.routes.map(({ name }) => name),
    ['shop']
  )
  t.strictSame(third.refusals, [])
  t.strictSame((await next()).routes, [], 'nothing has changed')
  t.match(
    await read(admin, 'figures?since=1.2'),
    { full: true, routes: [{}, {}, {}] },
    'the mark of another process'
  )
  t.match(await read(admin, 'figures?since=x'), { full: true, routes: [{}, {}, {}] })
})

/** Returns a function that polls the figures as the page does, later than what several pages share. */
function nextFigures(admin: string): () => Promise<Figures> {
  let mark = ''
  return async () => {
    let figures: Figures
    do figures = await read<Figures>(admin, `figures?since=${mark}`)
    while (figures.mark === mark)
    mark = figures.mark
    return figures
  }
}

t.test('counts requests and refusals without "metrics"', async (t) => {
  const { admin, url } = await stage(t, { routes: [{ path: '/', respond: { body: 'x' } }] })
  await ask(url)
  await ask(`${url}/nowhere`)
  t.match(await read(admin, 'figures'), {
    bounds: null,
    requests: 2,
    refused: { client: 1, server: 0 },
    routes: [],
    refusals: [{ code: 'SP_ERR_ROUTE_UNKNOWN', from: null }]
  })
})

t.test('bounds the kinds of refusals', async (t) => {
  const routes = Array.from({ length: 130 }, (_, i) => ({
    name: `r${i}`,
    path: `/r${i}`,
    ipAccess: { deny: ['loopback'] },
    respond: { body: 'x' }
  }))
  const { admin, url } = await stage(t, { routes })
  for (let i = 0; i < 130; i++) await ask(`${url}/r${i}`)
  const { refusals } = await read<Figures>(admin, 'figures')
  t.equal(refusals.length, 100)
  t.match(refusals[0], { route: 'r129' })
})

t.test('says where each option comes from', async (t) => {
  const { admin } = await stage(
    t,
    `{
  "rateLimit": { "max": 100, "by": "route", "also": { "daily": { "max": 1000, "window": "1d" } } },
  "upstreams": { "shop": { "url": "$\{SHOP:-http://127.0.0.1:9}" } },
  "headers": { "request": { "x-key": "$\{KEY}" } },
  "routes": [
    { "path": "/in", "rateLimit": { "window": "5s" }, "routes": [
      { "name": "one", "path": "/one", "rateLimit": { "max": 3 }, "proxy": { "upstream": "shop" } }
    ] },
    { "name": "two", "path": "/two", "proxy": { "upstream": "shop" } }
  ]
}`,
    { env: { KEY: 'S3CRET of the environment' } }
  )
  const places = async (path: string): Promise<Record<string, string>> => {
    const [part] = await read<{ options: { path: string; value: string; from: string }[] }[]>(admin, path)
    return Object.fromEntries(
      (part?.options ?? []).map(({ path, value, from }) => [
        path,
        `${value} ${from.replace(/^.*gateway\.json:/, '')}`
      ])
    )
  }
  t.match(await places('options'), {
    'rateLimit.max': '100 2:18',
    'rateLimit.window': '"1m" default',
    'rateLimit.also.daily.max': /^1000 2:\d+$/,
    'upstreams.shop.url': /^"http:\/\/127\.0\.0\.1:9" 3:\d+ \$\{SHOP\}$/,
    'headers.request.x-key': /^"\*\*\*" 4:\d+ \$\{KEY\}$/
  })
  const one = await places('options?route=one')
  t.match(one, {
    'rateLimit.max': /^3 7:\d+$/,
    'rateLimit.window': /^"5s" 6:\d+$/,
    'rateLimit.by': /^"route" 2:\d+$/,
    'proxy.upstream': /^"shop" 7:\d+$/,
    'limits.body': / default$/
  })
  t.match(await read(admin, 'options?route=three'), { status: 404, code: 'SP_ERR_ADMIN_ROUTE' })
  t.notMatch(JSON.stringify([one, await places('options')]), 'S3CRET')

  t.match(await read(admin, 'limits'), [
    { name: 'default', quota: '3 per 5s by route', from: /:7:\d+$/, routes: ['one'] },
    { name: 'daily', quota: '1,000 per 1d by ip', routes: ['one'] },
    { name: 'default', quota: '100 per 1m by route', from: /:2:\d+$/, routes: ['two'] },
    { name: 'daily', routes: ['two'] }
  ])
})

t.test('shows the counts of caches', async (t) => {
  const shop = await upstream(
    t,
    (_request, response) => void response.setHeader('cache-control', 'max-age=60').end('ok')
  )
  const { admin, url } = await stage(t, {
    routes: [{ name: 'shop', path: '/', cache: true, proxy: { upstream: shop } }]
  })
  for (let i = 0; i < 3; i++) await ask(url)
  t.match(await read(admin, 'figures'), {
    caches: [{ name: 'shop', results: { hit: 2, miss: 1 } }],
    cacheMemory: { entries: 1 }
  })
})

t.test('shows the URLs of upstreams without their passwords, and drains by what it shows', async (t) => {
  const [target = ''] = await numberedTargets(t, 1)
  const { admin, url } = await stage(
    t,
    { routes: [{ path: '/', proxy: { upstream: target.replace('//', '//ada:S3CRET@') } }] },
    { token: TOKEN }
  )
  const { upstreams } = await read<Figures>(admin, 'figures')
  const [{ name, targets } = { name: '', targets: [] }] = upstreams
  t.notMatch(name, 'S3CRET')
  t.equal((await act(admin, 'drain', { upstream: name, target: targets[0]?.name })).status, 200)
  t.equal((await ask(url)).status, 503)
})

t.test('acts on all workers, and adds up their figures', async (t) => {
  const servers = await Promise.all(
    ['0', '1'].map((name) =>
      originOf(
        t,
        createServer((_request, response) => void response.setHeader('connection', 'close').end(name))
      )
    )
  )
  const cwd = t.testdir({
    'gateway.json': JSON.stringify({
      metrics: true,
      upstreams: { shop: { targets: servers } },
      routes: [{ name: 'shop', path: '/', proxy: { upstream: 'shop' } }]
    })
  })
  const gateway = await running(t, [], { cwd, env: { WORKERS: '2', ADMIN_PORT: '0', ADMIN_TOKEN: TOKEN } })
  const { admin } = (await gateway.line(({ admin }) => admin !== undefined)) as { admin: string }
  const target = servers[0]?.slice(7)
  const askOften = async (): Promise<string[]> => {
    const answers = new Set<string>()
    // Each connection goes to another worker.
    for (let i = 0; i < 12; i++)
      answers.add((await ask(gateway.url, { headers: { connection: 'close' } })).text)
    return [...answers].toSorted()
  }
  t.strictSame(await askOften(), ['0', '1'])
  t.equal((await act(admin, 'drain', { upstream: 'shop', target })).status, 200)
  t.strictSame(await askOften(), ['1'])
  const figures = await read<Figures & { workers: number }>(admin, 'figures')
  t.match(figures, { workers: 2, requests: 24, routes: [{ name: 'shop', responses: [0, 24, 0, 0, 0] }] })

  t.equal((await act(admin, 'log-level', { level: 'warn' })).status, 200)
  await askOften()
  t.equal((await act(admin, 'log-level', { level: 'info' })).status, 200)
  t.equal((await act(admin, 'reload', {})).status, 200)
  t.strictSame(await askOften(), ['1'], 'it outlives a reload')
  const answers = (): number => gateway.lines.filter(({ route }) => route === 'shop').length
  await gateway.line(() => answers() >= 36)
  t.equal(answers(), 36, 'no line while the level was warn')
  t.match(await read(admin, 'reloads'), [{ outcome: 'taken', why: 'the admin listener' }])

  const { workers } = await read<{ workers: { pid: number; worker: number }[] }>(admin, 'status')
  const [killed] = workers
  process.kill(killed?.pid ?? 0, 'SIGKILL')
  await gateway.line(({ msg, worker }) => msg === 'worker exited, restarting' && worker === killed?.worker)
  let status: { workers: unknown[]; upstreams: Figures['upstreams'] }
  do status = await read(admin, 'status')
  while (status.workers.length < 2)
  t.match(status.upstreams, [{ targets: [{ drained: true }, { drained: false }] }])
  t.strictSame(await askOften(), ['1'], 'a new worker learns of it')
})
