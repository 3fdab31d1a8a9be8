// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, listening, raw, statusOf } from '../helpers.ts'
import { bodies, post } from './unread-bodies.ts'

const get = (path: string, ...headers: string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: a', 'Connection: close', ...headers, '', ''].join('\r\n')

/** A value of a request that would break out of every kind of literal. */
const EVIL = `"'\`\\</script>--></style>*/\n\u2028]]>&\${x}{y}; "a":1,onclick=alert(1) //`

const types = {
  json: 'application/json',
  problem: 'application/problem+json; charset=utf-8',
  script: 'text/javascript',
  oldScript: 'application/x-javascript; charset=utf-8',
  page: 'text/html; charset=utf-8',
  xml: 'application/xml',
  svg: 'image/svg+xml'
}

const at = (body: string, type: string, more: object = {}): object => ({
  routes: [{ path: '/a', respond: { body, headers: { 'Content-Type': type } }, ...more }]
})

async function bodyFor(
  scope: Parameters<typeof gateway>[0],
  config: object,
  value: string = EVIL
): Promise<string> {
  const app = await gateway(scope, config)
  return (await app.inject({ url: '/a', query: { q: value, n: '5', missing: '' } })).body
}

t.test('escapes request values in JSON', async (t) => {
  for (const type of [types.json, types.problem]) {
    const body = await bodyFor(
      t,
      at('{{"in": "a {query.q} b", "bare": {query.q}, "n": {query.n}, "none": {query.no}}}', type)
    )
    t.same(JSON.parse(body), { in: `a ${EVIL} b`, bare: EVIL, n: 5, none: '' }, type)
    t.notMatch(body, '<', 'a reader that takes it for a page finds no tag')
  }
})

t.test('escapes request values in JavaScript', async (t) => {
  const body = [
    `// {query.q} don't`,
    `/* {query.q} " */`,
    `out.double = "{query.q}"`,
    `out.single = '{query.q}'`,
    'out.template = `a $${{ {{}} && {query.q} }} {query.q}`',
    `out.bare = {query.q}`,
    `out.n = {query.n}`
  ].join('\n')
  for (const type of [types.script, types.oldScript]) {
    const out: Record<string, unknown> = {}
    runInNewContext(await bodyFor(t, at(body, type)), { out, alert: () => t.fail('code of the request ran') })
    t.same(out, { double: EVIL, single: EVIL, template: `a ${EVIL} ${EVIL}`, bare: EVIL, n: 5 }, type)
  }
})

t.test('escapes request values in HTML and XML', async (t) => {
  const cases: { name: string; body: string; value?: string; is: string }[] = [
    {
      name: 'text',
      body: '<p>{query.q}</p>',
      value: `<b a="'">&`,
      is: '<p>&lt;b a=&quot;&#39;&quot;&gt;&amp;</p>'
    },
    {
      name: 'an attribute',
      body: '<a title="{query.q}">',
      value: '" x="',
      is: '<a title="&quot; x=&quot;">'
    },
    { name: 'a bare attribute', body: '<a title={query.q}>', value: 'a b>', is: '<a title=a&#32;b&#62;>' },
    { name: 'the name of a tag', body: '<{query.q}>', value: 'img src=x', is: '<img&#32;src&#61;x>' },
    { name: 'the name of an attribute', body: '<a {query.q}>', value: 'x=1', is: '<a x&#61;1>' },
    {
      name: 'a link',
      body: '<a href="{query.q}">',
      value: ' java\nscript:alert(1)',
      is: '<a href="about:invalid">'
    },
    {
      name: 'a bare link',
      body: '<a href={query.q}>',
      value: 'javascript:x',
      is: '<a href=about&#58;invalid>'
    },
    {
      name: 'a link that is one',
      body: '<a href="{query.q}">',
      value: '/a?b=1&c',
      is: '<a href="/a?b=1&amp;c">'
    },
    { name: 'the rest of a link', body: '<a href="/{query.q}">', value: 'data:x', is: '<a href="/data:x">' },
    {
      name: 'a handler',
      body: `<a onclick="f('{query.q}', {query.n})">`,
      value: `');g("`,
      is: `<a onclick="f('\\u0027\\u0029\\u003bg\\u0028\\u0022', 5)">`
    },
    {
      name: 'code of a handler',
      body: '<a onclick="f({query.q})">',
      value: 'g()',
      is: '<a onclick="f(&quot;g\\u0028\\u0029&quot;)">'
    },
    { name: 'a style', body: '<style>a{{b:{query.q}}}', value: 'x}y', is: '<style>a{b:x\\7d y}' },
    {
      name: 'a script',
      body: '<script>let a = "{query.q}"; b({query.q})</script><p>{query.q}',
      value: '"<',
      is: '<script>let a = "\\u0022\\u003c"; b("\\u0022\\u003c")</script><p>&quot;&lt;'
    },
    {
      name: 'a page in a page',
      body: '<iframe srcdoc="{query.q}">',
      value: '<b>',
      is: '<iframe srcdoc="&amp;lt;b&amp;gt;">'
    },
    { name: 'a comment', body: '<!-- "{query.q}', value: '--><b>', is: '<!-- "--&gt;&lt;b&gt;' },
    { name: 'CDATA', body: '<![CDATA[{query.q}]]>', value: ']]>', is: '<![CDATA[]]&gt;]]>' }
  ]
  for (const { name, body, value, is } of cases)
    for (const type of [types.page, types.xml, types.svg])
      t.equal(await bodyFor(t, at(body, type), value), is, `${name} in ${type}`)
})

t.test('escapes for the content type that headers.response sets', async (t) => {
  const headers = { response: { 'Content-type': 'text/html' } }
  const config = { routes: [{ path: '/a', respond: { body: '<p>{query.q}</p>' }, headers }] }
  t.equal(await bodyFor(t, config, '<b>'), '<p>&lt;b&gt;</p>')
})

t.test('does not escape plain text', async (t) => {
  t.equal(await bodyFor(t, { routes: [{ path: '/a', respond: { body: '{query.q}' } }] }), EVIL)
})

t.test('responds with what the config sets', async (t) => {
  t.test('sends a fixed response', async (t) => {
    const app = await gateway(t, {
      routes: [
        { path: '/text', respond: { body: 'hello' } },
        { path: '/empty', respond: { status: 204 } },
        { path: '/nothing', respond: {} },
        { path: '/blank', respond: { body: '' } },
        { path: '/object', respond: { body: { id: '{params.id}', list: [1, null, 'é'] } } },
        { path: '/list', respond: { body: [] } },
        { path: '/null', respond: { body: null } },
        { path: '/number', respond: { body: 7 } },
        { path: '/false', respond: { body: false } },
        { path: '/wide', respond: { body: 'größe €' } },
        {
          path: '/gone',
          respond: { status: 410, headers: { 'Content-Type': 'text/html', 'X-Why': 'moved' }, body: '<p>' }
        }
      ]
    })
    const text = 'text/plain; charset=utf-8'
    const json = 'application/json; charset=utf-8'
    const cases: [url: string, status: number, type: string | undefined, body: string][] = [
      ['/text', 200, text, 'hello'],
      ['/empty', 204, undefined, ''],
      ['/nothing', 200, undefined, ''],
      ['/blank', 200, text, ''],
      ['/object', 200, json, '{"id":"{params.id}","list":[1,null,"é"]}'],
      ['/list', 200, json, '[]'],
      ['/null', 200, json, 'null'],
      ['/number', 200, json, '7'],
      ['/false', 200, json, 'false'],
      ['/wide', 200, text, 'größe €'],
      ['/gone', 410, 'text/html', '<p>']
    ]
    for (const [url, status, type, body] of cases)
      t.test(url, async (t) => {
        const answer = await app.inject(url)
        t.equal(answer.statusCode, status)
        t.equal(answer.headers['content-type'], type)
        t.equal(answer.body, body)
        if (status !== 204) t.equal(answer.headers['content-length'], String(Buffer.byteLength(body)))
        const head = await app.inject({ method: 'HEAD', url })
        t.equal(head.statusCode, status)
        t.equal(head.body, '')
        const same = { date: '', 'x-request-id': '', ...(body === '' ? { 'content-length': '0' } : {}) }
        t.match({ ...answer.headers, ...same }, { ...head.headers, ...same })
        t.match({ ...head.headers, ...same }, { ...answer.headers, ...same })
      })
    t.equal((await app.inject('/gone')).headers['x-why'], 'moved')
  })

  t.test('replaces values of the request in a text', async (t) => {
    const app = await gateway(t, {
      auth: { optional: true, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
      routes: [
        {
          path: '/hi/:name/*',
          respond: {
            body: '{{{params.name}}} {query.q} {path} {host} {client.ip} {caller.id} {headers.X-A} {{}}'
          }
        }
      ]
    })
    const { body } = await app.inject({
      url: '/hi/b%C3%A9a/x?q=1%202',
      headers: { host: 'api.test', 'x-a': 'a', 'x-api-key': 'key' }
    })
    t.equal(body, '{béa} 1 2 /hi/b%C3%A9a/x api.test 127.0.0.1 alice a {}')
  })

  t.test('accepts every method and ignores bodies', async (t) => {
    const app = await gateway(t, { routes: [{ path: '/a', respond: { body: 'hello' } }] })
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
      t.equal((await app.inject({ method, url: '/a' })).body, 'hello', method)
    for (const body of bodies) t.equal((await post(app, '/a', body)).body, 'hello', String(body))
  })

  t.test('responds without waiting for the body', async (t) => {
    const { port } = await listening(t, { routes: [{ path: '/a', respond: { body: 'hello' } }] })
    const half = 'POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'
    const whole = `${half}0\r\n\r\n${get('/a')}`
    const answers = (await raw(port, whole, 5000)).match(/HTTP\/1\.1 200 OK/g)
    t.equal(answers?.length, 2, 'the connection goes on after a body that nobody read')
    t.equal(statusOf(await raw(port, half, 100)), 200)
  })

  t.test('rejects invalid options', async (t) => {
    const cases: [name: string, respond: object, message: RegExp][] = [
      ['an invalid status', { status: 99 }, /status/],
      ['an unknown value', { body: 'Hello {name}' }, /got "\{name\}"/],
      ['an invalid header name', { headers: { 'x a': 'b' } }, /x a/]
    ]
    for (const [name, respond, message] of cases)
      t.test(name, async (t) => {
        await t.rejects(loadConfig({ routes: [{ path: '/a', respond }] }, {}), { message })
      })
  })
})
