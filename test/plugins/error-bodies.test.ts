import { once } from 'node:events'
import http2 from 'node:http2'
import t from 'tap'
import { ConfigError, loadConfig } from '../../src/index.ts'
import { ask, certificate, gateway, listening, noOpenssl, raw, upstream } from '../helpers.ts'

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8'
const JSON_TYPE = 'application/json'
const HTML_TYPE = 'text/html; charset=utf-8'
const TEXT_TYPE = 'text/plain; charset=utf-8'
const XML_TYPE = 'application/xml; charset=utf-8'
const BUILTIN = 'application/problem+json'

const failing = (status: number) => ({ respond: {}, fault: { status } })

t.test('sends the body of the code, else of the status, in the format that the client accepts', async (t) => {
  const app = await gateway(t, {
    errors: {
      bodies: {
        '4xx': { html: '<p>any {status}</p>', text: 'any {status}\n', json: { any: '{status}' } },
        '404': { json: { error: { message: '{detail}', status: '{status}', id: '{requestId}' } } },
        SP_ERR_AUTH_MISSING: { json: { login: true }, xml: '<login code="{code}"/>' },
        '401': { json: { never: 'by status' }, html: '<p>{title}</p>' },
        '500-504': { 'application/vnd.api+json': { errors: [{ status: '{status}x' }] } },
        '503': { text: 'busy\n' }
      }
    },
    routes: [
      {
        path: '/in',
        auth: { basic: true, users: { list: [{ name: 'ada', secret: 'a secret' }] } },
        respond: {}
      },
      { path: '/429', ...failing(429) },
      { path: '/502', ...failing(502) },
      { path: '/503', ...failing(503) },
      { path: '/505', ...failing(505) }
    ]
  })
  const cases: [path: string, accept: string | undefined, type: string, body: string | RegExp][] = [
    [
      '/none',
      undefined,
      JSON_TYPE,
      /^\{"error":\{"message":"Not found: [^"]+","status":404,"id":"[\w-]+"\}\}\n$/
    ],
    ['/none', '*/*', JSON_TYPE, /"status":404/],
    ['/none', 'application/json', JSON_TYPE, /"status":404/],
    ['/none', 'application/problem+json', JSON_TYPE, /"status":404/],
    ['/none', BROWSER, HTML_TYPE, '<p>any 404</p>'],
    ['/none', 'text/plain', TEXT_TYPE, 'any 404\n'],
    ['/none', 'text/html;q=0.1, text/plain', TEXT_TYPE, 'any 404\n'],
    ['/none', 'application/xml', JSON_TYPE, /"status":404/],
    ['/in', undefined, JSON_TYPE, '{"login":true}\n'],
    ['/in', 'text/xml', XML_TYPE, '<login code="SP_ERR_AUTH_MISSING"/>'],
    ['/in', 'application/soap+xml', XML_TYPE, '<login code="SP_ERR_AUTH_MISSING"/>'],
    ['/in', BROWSER, HTML_TYPE, '<p>Unauthorized</p>'],
    ['/in', 'text/plain', TEXT_TYPE, 'any 401\n'],
    ['/429', undefined, JSON_TYPE, '{"any":429}\n'],
    ['/502', undefined, 'application/vnd.api+json', '{"errors":[{"status":"502x"}]}\n'],
    ['/502', 'application/vnd.api+json', 'application/vnd.api+json', '{"errors":[{"status":"502x"}]}\n'],
    ['/502', BROWSER, HTML_TYPE, /^<!doctype html>.*Bad Gateway/s],
    ['/503', 'text/plain', TEXT_TYPE, 'busy\n'],
    ['/503', 'application/json', 'application/vnd.api+json', '{"errors":[{"status":"503x"}]}\n'],
    ['/505', undefined, BUILTIN, /"status":505/]
  ]
  for (const [url, accept, type, body] of cases)
    t.test(`${url} for ${accept ?? 'no Accept'}`, async (t) => {
      const answer = await app.inject({ url, headers: accept === undefined ? {} : { accept } })
      t.equal(answer.headers['content-type'], type)
      if (typeof body === 'string') t.equal(answer.body, body)
      else t.match(answer.body, body)
      t.equal(answer.headers['cache-control'], 'no-store')
      t.match(answer.headers['vary'], /accept/i)
      if (url === '/in') t.match(answer.headers['www-authenticate'], 'Basic')
      const head = await app.inject({ method: 'HEAD', url, headers: accept === undefined ? {} : { accept } })
      t.equal(head.statusCode, answer.statusCode)
      t.equal(head.headers['content-type'], type)
      t.equal(head.body, '')
    })
})

t.test(
  'sends the only body to every client but those that accept something else, unless it is a page',
  async (t) => {
    const only = (path: string, body: object, more: object = {}) => ({
      path,
      ...failing(503),
      errors: { bodies: { '503': body }, ...more }
    })
    const app = await gateway(t, {
      routes: [
        only('/text', { text: 'busy' }),
        only('/xml', { xml: '<busy/>' }),
        only('/html', { html: '<p>busy' }),
        only('/text-html', { text: 'busy' }, { format: 'html' }),
        only('/empty', { text: '' })
      ]
    })
    const cases: [url: string, accept: string, type: string, body: string | RegExp][] = [
      ['/text', '*/*', TEXT_TYPE, 'busy'],
      ['/text', 'application/json', BUILTIN, /"status":503/],
      ['/text', BROWSER, HTML_TYPE, /<!doctype/],
      ['/xml', '*/*', XML_TYPE, '<busy/>'],
      ['/html', '*/*', BUILTIN, /"status":503/],
      ['/html', BROWSER, HTML_TYPE, '<p>busy'],
      ['/text-html', '*/*', HTML_TYPE, /<!doctype/],
      ['/empty', '*/*', TEXT_TYPE, '']
    ]
    for (const [url, accept, type, body] of cases) {
      const answer = await app.inject({ url, headers: { accept } })
      t.equal(answer.headers['content-type'], type, `${url} ${accept}`)
      if (typeof body === 'string') t.equal(answer.body, body, `${url} ${accept}`)
      else t.match(answer.body, body, `${url} ${accept}`)
    }
  }
)

t.test(
  'a page for one status wins over a body for a range, and a body over a page for the same',
  async (t) => {
    const folder = t.testdir({ 'page.html': 'page {status}' })
    const page = `${folder}/page.html`
    const app = await gateway(t, {
      errors: {
        pages: { '502': page, '503': page, '5xx': page },
        bodies: { '5xx': { html: 'body {status}' }, '503': { html: 'body {status}' } }
      },
      routes: [500, 502, 503].map((status) => ({ path: `/${status}`, ...failing(status) }))
    })
    const bodyOf = async (url: string) => (await app.inject({ url, headers: { accept: 'text/html' } })).body
    t.equal(await bodyOf('/502'), 'page 502')
    t.equal(await bodyOf('/503'), 'body 503')
    t.equal(await bodyOf('/500'), 'body 500')
  }
)

t.test('escapes what a client chose for its place', async (t) => {
  const { port } = await listening(t, {
    errors: {
      bodies: {
        '404': {
          html: '<a href="{query.to}" title={query.q}>{query.q}</a><script>const q = {query.q}</script><style>p {{ color: red }}</style>',
          json: { q: 'is {query.q}', none: '{query.none}' },
          'application/problem+json': '{{"q": "{query.q}", "bare": {query.q}}}',
          xml: '<path of="{query.q}">{query.q}</path>',
          text: '{path}'
        }
      }
    },
    headers: { response: { 'content-type': 'text/html' } },
    routes: []
  })
  const target = `/<b>?to=javascript:alert(1)&q=${encodeURIComponent(`'",</script>`)}`
  const cases: [accept: string, body: string][] = [
    [
      'text/html',
      '<a href="about:invalid" title=&#39;&#34;&#44;&#60;&#47;script&#62;>&#39;&quot;,&lt;/script&gt;</a>' +
        '<script>const q = "\\u0027\\u0022,\\u003c\\u002fscript\\u003e"</script><style>p { color: red }</style>'
    ],
    ['application/json', `{"q":"is '\\",</script>"}\n`],
    [
      'application/problem+json',
      '{"q": "\\u0027\\",\\u003c/script\\u003e", "bare": "\\u0027\\",\\u003c/script\\u003e"}'
    ],
    ['application/xml', '<path of="&#39;&quot;,&lt;/script&gt;">&#39;&quot;,&lt;/script&gt;</path>'],
    ['text/plain', '/<b>']
  ]
  for (const [accept, body] of cases) {
    const answer = await raw(
      port,
      `GET ${target} HTTP/1.1\r\nHost: a\r\nAccept: ${accept}\r\nConnection: close\r\n\r\n`
    )
    const [head = '', ...rest] = answer.split('\r\n\r\n')
    t.equal(rest.join('\r\n\r\n'), body, accept)
    t.match(head, `content-type: ${accept}`, `${accept}: headers.response does not change the type`)
    t.match(head, 'x-content-type-options: nosniff')
  }
})

t.test('a group and a route change single bodies; what one accepts is replaced whole', async (t) => {
  const app = await gateway(t, {
    errors: {
      bodies: { '503': { json: { root: 1, more: { a: 1 } }, text: 'root' }, '5xx': { text: 'range' } }
    },
    routes: [
      { path: '/root', ...failing(503) },
      {
        path: '/group',
        errors: { bodies: { '503': { json: { more: { b: 2 } } } } },
        routes: [
          { path: '/a', ...failing(503) },
          { path: '/b', ...failing(503), errors: { bodies: { '503': false } } },
          { path: '/c', ...failing(503), errors: { bodies: false } },
          { path: '/d', ...failing(503), errors: false }
        ]
      }
    ]
  })
  const cases: [url: string, accept: string, body: string | RegExp][] = [
    ['/root', 'application/json', '{"root":1,"more":{"a":1}}\n'],
    ['/group/a', 'application/json', '{"more":{"b":2}}\n'],
    ['/group/a', 'text/plain', 'root'],
    ['/group/b', 'text/plain', 'range'],
    ['/group/c', 'application/json', /"code":"SP_ERR_FAULT_INJECTED"/],
    ['/group/d', 'application/json', '{"root":1,"more":{"a":1}}\n']
  ]
  for (const [url, accept, body] of cases) {
    const answer = await app.inject({ url, headers: { accept } })
    if (typeof body === 'string') t.equal(answer.body, body, url)
    else t.match(answer.body, body, url)
  }
})

t.test('requests that can not be parsed get the body of the root, without values of a request', async (t) => {
  const { port } = await listening(t, {
    errors: { bodies: { '400': { json: { code: '{code}', id: '{requestId}', at: '{path}' } } } },
    routes: []
  })
  const answer = await raw(port, 'nonsense\r\n\r\n')
  t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
  t.match(answer, /\r\ncontent-type: application\/json\r\n/)
  t.match(answer, /\r\ncache-control: no-store\r\n/)
  t.match(answer, /\r\n\r\n\{"code":"SP_ERR_REQUEST_MALFORMED"\}\n$/)
})

t.test('keeps Retry-After, and leaves the errors of upstreams and gRPC calls as they are', async (t) => {
  const url = await upstream(t, (_request, response) => response.writeHead(503).end('of the upstream'))
  const { url: own } = await listening(t, {
    errors: { bodies: { '4xx': { text: 'own' }, '5xx': { text: 'own' } } },
    routes: [
      { path: '/up', proxy: { upstream: url } },
      { path: '/limited', rateLimit: { max: 1, window: '1h' }, respond: {} }
    ]
  })
  t.equal((await ask(`${own}/up`)).text, 'of the upstream')
  await ask(`${own}/limited`)
  const limited = await ask(`${own}/limited`)
  t.equal(limited.text, 'own')
  t.match(limited.headers.get('retry-after'), /^\d+$/)
  const grpc = await ask(`${own}/none`, { method: 'POST', headers: { 'content-type': 'application/grpc' } })
  t.equal(grpc.status, 200)
  t.equal(grpc.text, '')
})

t.test('over HTTP/2', { skip: noOpenssl }, async (t) => {
  const { key, cert } = certificate(t)
  const folder = t.testdir({ 'up.key': key, 'up.pem': cert })
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: `${folder}/up.pem`, key: `${folder}/up.key` }] },
    errors: { bodies: { '404': { html: '<p>{path} {requestId}</p>' } } },
    routes: []
  })
  const session = http2.connect(`https://localhost:${port}`, { ca: cert })
  t.teardown(() => session.destroy())
  for (const method of ['GET', 'HEAD']) {
    const stream = session.request({ ':path': '/<b>', ':method': method, accept: BROWSER })
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    let text = ''
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    await once(stream, 'close')
    t.equal(head[':status'], 404)
    t.equal(head['content-type'], HTML_TYPE)
    t.match(text, method === 'GET' ? /^<p>\/&lt;b&gt; [\w-]+<\/p>$/ : /^$/)
  }
})

t.test('text that a variable or a file inserts is no template', async (t) => {
  const folder = t.testdir({ 'own.json': '{"note": "{path}"}' })
  const app = await gateway(
    t,
    {
      errors: {
        bodies: {
          '404': {
            json: { inner: [`\${NOTE} {status}`] },
            'application/problem+json': `\${file:${folder}/own.json}`
          }
        }
      },
      routes: []
    },
    { env: { NOTE: '{path}' } }
  )
  t.equal((await app.inject('/none')).body, '{"inner":["{path} 404"]}\n')
  const own = await app.inject({ url: '/none', headers: { accept: 'application/problem+json' } })
  t.equal(own.body, '{"note": "{path}"}')
})

t.test('rejects a bad template with its place', async (t) => {
  const cases: [bodies: object, message: RegExp][] = [
    [{ '404': { html: '{detial}' } }, /errors\.bodies\.404\.html: .*did you mean \{detail\}\?/],
    [
      { '404': { json: { a: [{ b: '{nothing}' }] } } },
      /errors\.bodies\.404\.json\.a\[0\]\.b: expected one of \{status\}/
    ],
    [{ '404': { text: 'a {path' } }, /errors\.bodies\.404\.text: expected a "\}" after "\{"/],
    [{ '404': { json: '{{"a": ' } }, /errors\.bodies\.404\.json: expected JSON/],
    [{ '404': { json: 7 } }, /errors\.bodies\.404\.json: expected an object, a list, or a text/],
    [{ '404': { html: { a: 1 } } }, /errors\.bodies\.404\.html: expected a string/],
    [
      { '404': { 'text/csv': { a: 1 } } },
      /errors\.bodies\.404\["?text\/csv"?\]: expected a text for text\/csv, got an object/
    ],
    [{ '404': {} }, /errors\.bodies\.404: expected an object with "json"/],
    [{ '404': { jsn: {} } }, /errors\.bodies\.404\.jsn: .*"json"/],
    [{ '200': { text: 'a' } }, /errors\.bodies\.200: /],
    [{ SP_ERR_: { text: 'a' } }, /errors\.bodies\.SP_ERR_: expected an error status such as 404/],
    [
      { SP_ERR_ROUTE_UNKOWN: { text: 'a' } },
      /SP_ERR_ROUTE_UNKOWN: expected the code of an error, got "SP_ERR_ROUTE_UNKOWN"; did you mean "SP_ERR_ROUTE_UNKNOWN"\?/
    ],
    [{ SP_ERR_TEA_POT: { text: 'a' } }, /got "SP_ERR_TEA_POT"; docs\/errors\.md has the codes/],
    [{ sp_err_route_unknown: { text: 'a' } }, /; "SP_ERR_ROUTE_UNKNOWN" would work/],
    [{ '404': { html: '{caller.accessToken}' } }, /errors\.bodies\.404\.html: /]
  ]
  for (const [bodies, message] of cases)
    await t.rejects(
      loadConfig({ errors: { bodies }, routes: [] } as never, {}),
      { message },
      JSON.stringify(bodies)
    )
})

t.test('takes the codes of an extension, which has its key in them', async (t) => {
  const folder = t.testdir({
    'tea-pot.js': `
export const key = 'teaPot'
export const options = { type: 'object', properties: {}, additionalProperties: false, description: 'x' }
export const override = options
export default async () => {}`,
    'gateway.json': JSON.stringify({
      extensions: [{ module: './tea-pot.js' }],
      errors: { bodies: { SP_ERR_TEA_POT_SHORT: { text: 'a' }, SP_ERR_TEA_CUP: { text: 'b' } } },
      routes: []
    })
  })
  const error = await loadConfig(`${folder}/gateway.json`, {}).catch((error: unknown) => error)
  t.ok(error instanceof ConfigError)
  t.match((error as ConfigError).faults, [{ path: 'errors.bodies.SP_ERR_TEA_CUP' }])
})
