// biome-ignore-all lint/suspicious/noTemplateCurlyInString: what stands in ${…} here is the config's
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { gateway } from '../helpers.ts'

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
