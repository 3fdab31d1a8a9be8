// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${1:…} is the syntax of snippets
import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import t, { type Test } from 'tap'
import { composeStandardSchema } from '../../src/config/schema.ts'
import { schemaError, validate } from '../../src/config/validate.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { composeTestSchema } from '../../src/test-runner/published-schema.ts'
import {
  type Completion,
  completionsAt,
  type LanguageServer,
  languageServer,
  type OpenFile,
  openFile
} from '../language-server.ts'

// What an editor makes of gateway.schema.json, by the language servers of VS Code, spoken to as an editor does.

const JSON_SERVER = 'vscode-json-languageserver/bin/vscode-json-languageserver'
const YAML_SERVER = 'yaml-language-server/out/src/server.js'

const PROPERTY = 10

const server = (t: Test): Promise<LanguageServer> => languageServer(t, JSON_SERVER)

/** Opens a config whose "$schema" names the schema, as the plain JSON that editors take gateway.json for. */
const open = (t: Test, editor: LanguageServer, body: string): Promise<OpenFile> =>
  openFile(t, editor, {
    name: 'gateway.json',
    languageId: 'json',
    text: `{ "$schema": "./gateway.schema.json",\n${body} }`
  })

const openYaml = (t: Test, editor: LanguageServer, body: string): Promise<OpenFile> =>
  openFile(t, editor, {
    name: 'gateway.yaml',
    languageId: 'yaml',
    text: `# yaml-language-server: $schema=./gateway.schema.json\n${body}`
  })

const inserted = ({ textEdit, insertText }: Completion): string => textEdit?.newText ?? insertText ?? ''

t.test('an editor completes options', async (t) => {
  const editor = await server(t)
  const cases: { name: string; body: string; words: readonly string[]; not?: readonly string[] }[] = [
    {
      name: 'at the root',
      body: '"|"',
      words: [
        'routes',
        'upstreams',
        'publicUrl',
        'trustedProxies',
        'extensions',
        'session',
        'rateLimit',
        'cors',
        'auth',
        'proxy'
      ],
      not: ['path', 'respond']
    },
    {
      name: 'on a route',
      body: '"routes": [ { "path": "/a", "|" } ]',
      words: [
        'host',
        'methods',
        'name',
        'proxy',
        'redirect',
        'respond',
        'files',
        'routes',
        'include',
        'rateLimit',
        'auth'
      ],
      not: ['path', 'upstreams', 'session', 'publicUrl']
    },
    {
      name: 'on a route of a group of a group',
      body: '"routes": [ { "routes": [ { "routes": [ { "|" } ] } ] } ]',
      words: ['path', 'proxy', 'respond', 'rateLimit']
    },
    {
      name: 'inside a word at the root',
      body: '"rateLimit": { "|" }',
      words: ['max', 'window', 'by', 'mode', 'global']
    },
    {
      name: 'inside a word on a route',
      body: '"routes": [ { "rateLimit": { "|" } } ]',
      words: ['max', 'window', 'by', 'mode']
    },
    {
      name: 'inside a target',
      body: '"routes": [ { "proxy": { "|" } } ]',
      words: ['upstream', 'rewrite', 'preserveHost', 'timeouts']
    },
    {
      name: 'inside an upstream',
      body: '"upstreams": { "shop": { "|" } }',
      words: ['url', 'targets', 'timeouts', 'connections', 'tls']
    },
    {
      name: 'of a choice',
      body: '"routes": [ { "rateLimit": { "mode": "|" } } ]',
      words: ['"enforce"', '"report"']
    },
    {
      name: 'of methods',
      body: '"routes": [ { "methods": ["|"] } ]',
      words: ['"GET"', '"POST"', '"PROPFIND"'],
      not: ['"TRACE"', '"CONNECT"']
    }
  ]
  for (const { name, body, words, not = [] } of cases)
    t.test(name, async (t) => {
      const labels = await completionsAt(editor, await open(t, editor, body))
      for (const word of words) t.ok(labels.has(word), `offers ${word}`)
      for (const word of not) t.notOk(labels.has(word), `does not offer ${word}`)
    })
})

t.test('an editor knows files of tests', async (t) => {
  const editor = await server(t)
  const openTests = (t: Test, body: string): Promise<OpenFile> =>
    openFile(t, editor, {
      name: 'gateway.test.json',
      languageId: 'json',
      text: `{ "$schema": "./gateway.test.schema.json",\n${body} }`
    })
  const answer = '"upstreams": { "orders": [ { "answers": [ { "|" } ] } ] }'
  const cases: [body: string, ...words: string[]][] = [
    ['"|"', 'config', 'clock', 'env', 'callers', 'upstreams', 'tests'],
    ['"tests": [ { "|" } ]', 'name', 'request', 'as', 'sign', 'expect', 'upstreams', 'steps'],
    ['"tests": [ { "request": { "|" } } ]', 'method', 'url', 'headers', 'body', 'from'],
    [
      '"tests": [ { "expect": { "|" } } ]',
      ...[
        'status',
        'headers',
        'body',
        'code',
        'refusedBy',
        'limit',
        'route',
        'upstream',
        'upstreams',
        'attempts'
      ]
    ],
    ['"tests": [ { "expect": { "upstream": { "|" } } } ]', 'name', 'method', 'path', 'headers', 'body'],
    ['"tests": [ { "steps": [ { "|" } ] } ]', 'request', 'expect', 'times', 'wait', 'purge', 'reload'],
    ['"callers": { "ada": { "|" } }', 'id', 'roles', 'scopes', 'claims', 'issuer'],
    [answer, 'status', 'headers', 'body', 'delay', 'times'],
    [answer.replace('"|"', '"status": "|"'), '"hang"', '"refuse"', '"cut"']
  ]
  for (const [body, ...words] of cases)
    t.test(`completes ${body}`, async (t) => {
      const found = await completionsAt(editor, await openTests(t, body))
      for (const word of words) t.ok(found.has(word), `offers ${word}`)
      for (const [label, item] of found)
        if (item.kind === PROPERTY) t.match(inserted(item), /^"[^"]+": ?./, `${label} comes with a value`)
    })
  t.test('shows descriptions, and allows comments and trailing commas', async (t) => {
    const body = '"tests": [ { "request": "GET /", "expect": { "refu|sedBy": "auth" } }, ], // the end'
    const { uri, position, wrong } = await openTests(t, `${body}\n`)
    t.strictSame(wrong, [])
    const hover = await editor.ask('textDocument/hover', { textDocument: { uri }, position })
    t.match(JSON.stringify(hover), /key of the gate that refused/)
  })
  t.test('marks what is unknown', async (t) => {
    const { wrong } = await openTests(t, '"tests": [ { "request": "GET /", "expct": {} } ]')
    t.match(wrong.map(({ message }) => message).join(), /expct is not allowed/)
  })
})

t.test('every property of a file of tests has a description', (t) => {
  const without: string[] = []
  const walk = (schema: unknown, path: string): void => {
    if (typeof schema !== 'object' || schema === null) return
    const { properties } = schema as { properties?: Record<string, { description?: string }> }
    for (const [name, property] of Object.entries(properties ?? {}))
      if (property.description === undefined) without.push(`${path}.${name}`)
    for (const [key, inner] of Object.entries(schema)) walk(inner, `${path}.${key}`)
  }
  walk(composeTestSchema(), '')
  t.strictSame(without, [])
  t.end()
})

t.test('an editor inserts an option with a value to edit', async (t) => {
  const editor = await server(t)
  const cases: { name: string; body: string; option: string; inserts: RegExp }[] = [
    {
      name: 'the object of a target',
      body: '"routes": [ { "path": "/a", "|" } ]',
      option: 'proxy',
      inserts: /^"proxy": \{\s*"upstream": "\$\{1:http:\/\/localhost:4001\}"\s*\}$/
    },
    {
      name: 'the object of a concern',
      body: '"|"',
      option: 'rateLimit',
      inserts: /^"rateLimit": \{\s*"max": \$\{1:100\},\s*"window": "\$\{2:1m\}"\s*\},?$/
    },
    {
      name: 'a list',
      body: '"cors": { "|" }',
      option: 'origins',
      inserts: /^"origins": \[\s*"\$\{1:https:\/\/app\.example\.com\}"/
    },
    {
      name: 'the default of the root, on a route',
      body: '"routes": [ { "rateLimit": { "|" } } ]',
      option: 'window',
      inserts: /^"window": "\$\{1:1m\}"$/
    },
    {
      name: 'a name that can be false',
      body: '"routes": [ { "proxy": { "|" } } ]',
      option: 'upstream',
      inserts: /^"upstream": "\$1"$/
    },
    {
      name: 'a secret as the variable that has it',
      body: '"session": { "|" }',
      option: 'secrets',
      inserts: /"\$\{1:\\\$\{SESSION_SECRET\\\}\}"/
    },
    {
      name: 'a whole route',
      body: '"routes": [ | ]',
      option: 'a route with proxy',
      inserts: /^\{\s*"path": "\$\{1:\/path\/\*\}",\s*"proxy": \{\s*"upstream": "\$\{2:/
    },
    {
      name: 'a group',
      body: '"routes": [ | ]',
      option: 'a group of routes',
      inserts: /^\{\s*"path": "\$1",\s*"routes": \[\s*\$2\s*\]\s*\}$/
    }
  ]
  for (const { name, body, option, inserts } of cases)
    t.test(name, async (t) => {
      const found = (await completionsAt(editor, await open(t, editor, body))).get(option)
      t.match(found === undefined ? '' : inserted(found), inserts)
    })

  t.test('and never a name alone', async (t) => {
    for (const body of ['"|"', '"routes": [ { "|" } ]', '"upstreams": { "shop": { "|" } }'])
      for (const [label, item] of await completionsAt(editor, await open(t, editor, body)))
        if (item.kind === PROPERTY) t.match(inserted(item), /^"[^"]+": ./, label)
  })
})

t.test('an editor offers methods with the common ones first', async (t) => {
  const editor = await server(t)
  const found = await completionsAt(editor, await open(t, editor, '"routes": [ { "methods": ["|"] } ]'))
  const sorted = [...found.values()].toSorted((a, b) =>
    (a.sortText ?? a.label) < (b.sortText ?? b.label) ? -1 : 1
  )
  t.strictSame(
    sorted.slice(0, 7).map(({ label }) => JSON.parse(label)),
    ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
  )
})

t.test('an editor allows comments and trailing commas', async (t) => {
  const editor = await server(t)
  const { wrong } = await open(
    t,
    editor,
    '// a comment\n"routes": [ { "path": "/a", "respond": {}, }, /* another */ ],'
  )
  t.strictSame(wrong, [])
})

t.test('an editor works with YAML', async (t) => {
  const editor = await languageServer(t, YAML_SERVER)
  const cases: { name: string; body: string; option: string; inserts: string }[] = [
    {
      name: 'completes a target with its object',
      body: 'routes:\n  - path: /a\n    prox|',
      option: 'proxy',
      inserts: 'proxy:\n  upstream: ${1:http://localhost:4001}'
    },
    {
      name: 'completes a concern with its object',
      body: 'rateL|',
      option: 'rateLimit',
      inserts: 'rateLimit:\n  max: ${1:100}\n  window: "${2:1m}"'
    },
    {
      name: 'completes a list',
      body: 'trusted|',
      option: 'trustedProxies',
      inserts: 'trustedProxies:\n  - ${1:private}\n  - "${2:203.0.113.0/24}"'
    }
  ]
  for (const { name, body, option, inserts } of cases)
    t.test(name, async (t) => {
      const found = (await completionsAt(editor, await openYaml(t, editor, body))).get(option)
      t.equal(found === undefined ? '' : inserted(found).replaceAll(/ +$/gm, '').trimEnd(), inserts)
    })

  t.test('shows the description of an option on hover', async (t) => {
    const { uri, position } = await openYaml(t, editor, 'routes:\n  - rate|Limit:\n      max: 1\n')
    const { contents } = (await editor.ask('textDocument/hover', { textDocument: { uri }, position })) as {
      contents: { value: string }
    }
    t.match(contents.value, /Limits the rate of requests by client/)
  })

  t.test('marks an unknown option', async (t) => {
    const { wrong } = await openYaml(t, editor, 'routes:\n  - path: /a\n    respnd: {}\n')
    t.match(wrong.map(({ message }) => message).join(), /respnd is not allowed/)
  })

  t.test('and marks nothing in a valid config', async (t) => {
    const { wrong } = await openYaml(
      t,
      editor,
      'x-team: shop\nrateLimit:\n  max: 100\nroutes:\n  - path: /a/*\n    methods: [GET]\n    proxy:\n      upstream: http://localhost:4001\n'
    )
    t.strictSame(wrong, [])
  })
})

t.test('an editor shows the description of an option on hover', async (t) => {
  const editor = await server(t)
  for (const [body, says] of [
    ['"routes": [ { "rate|Limit": { "max": 1 } } ]', /^Limits the rate of requests by client/],
    ['"routes": [ { "proxy": { "up|stream": "x" } } ]', /^The upstream: a name from "upstreams"/],
    ['"public|Url": "https://a.test"', /^The origin that browsers see/]
  ] as const)
    t.test(body, async (t) => {
      const { uri, position } = await open(t, editor, body)
      const { contents } = (await editor.ask('textDocument/hover', { textDocument: { uri }, position })) as {
        contents: readonly (string | { value: string })[]
      }
      const [first = ''] = contents
      t.match((typeof first === 'string' ? first : first.value).replaceAll('\\', ''), says)
    })
})

t.test('an editor marks errors at their place', async (t) => {
  const editor = await server(t)
  const cases: { name: string; body: string; message: RegExp; at: string }[] = [
    {
      name: 'an unknown word at the root',
      body: '"rateLimt": {}, "routes": []',
      message: /rateLimt is not allowed/,
      at: '"rateLimt"'
    },
    {
      name: 'an unknown word on a route',
      body: '"routes": [ { "path": "/a", "respnd": {} } ]',
      message: /respnd is not allowed/,
      at: '"respnd"'
    },
    {
      name: 'an unknown word in a group',
      body: '"routes": [ { "routes": [ { "pth": "/a" } ] } ]',
      message: /pth is not allowed/,
      at: '"pth"'
    },
    {
      name: 'a word of the root on a route',
      body: '"routes": [ { "upstreams": {} } ]',
      message: /upstreams is not allowed/,
      at: '"upstreams"'
    },
    {
      name: 'an unknown option',
      body: '"rateLimit": { "max": 1, "widow": "1s" }',
      message: /widow is not allowed/,
      at: '"widow"'
    },
    {
      name: 'none of a choice',
      body: '"paths": { "doubleSlash": "fold" }',
      message: /not accepted|"keep"/i,
      at: '"fold"'
    },
    {
      name: 'a duration without a unit',
      body: '"session": { "idle": "30" }',
      message: /pattern/i,
      at: '"30"'
    },
    { name: 'a number for a word', body: '"rateLimit": 100', message: /type/i, at: '100' },
    {
      name: 'a path without its slash',
      body: '"routes": [ { "path": "a" } ]',
      message: /pattern/i,
      at: '"a"'
    }
  ]
  for (const { name, body, message, at } of cases)
    t.test(name, async (t) => {
      const { wrong } = await open(t, editor, body)
      t.equal(wrong.length, 1, wrong.map((each) => each.message).join(' | '))
      t.match(wrong[0]?.message, message)
      const line = body.split('\n')[(wrong[0]?.range.start.line ?? 0) - 1] ?? ''
      t.equal(line.slice(wrong[0]?.range.start.character, wrong[0]?.range.end.character), at)
    })

  t.test('and marks nothing in a valid config', async (t) => {
    const { wrong } = await open(
      t,
      editor,
      `"x-team": "shop", // a comment
"publicUrl": "https://api.test", "trustedProxies": ["private"],
"upstreams": { "shop": { "x-owner": "ada", "targets": ["http://10.0.0.1", { "url": "http://10.0.0.2", "weight": 2 }], "timeouts": { "headers": false } } },
"rateLimit": { "max": 100, "window": "5m", "global": false }, "limits": { "body": false, "time": "10s" }, "securityHeaders": true,
"auth": { "apiKeys": { "file": "keys.json" } },
"proxy": { "preserveHost": true },
"routes": [
  { "path": ["/a/*", "/b/:id(\\\\d+)"], "host": "*.shop.test", "methods": ["GET"], "proxy": { "upstream": "shop", "rewrite": "/" }, "rateLimit": true, "auth": false },
  { "path": "/g", "rateLimit": { "max": 5, "window": false }, "routes": [ { "path": "/x", "redirect": { "to": "/y" } }, { "include": "more.json" } ] }
]`
    )
    t.strictSame(wrong, [])
  })
})

t.test('validators read the schema', async (t) => {
  t.test('as printed for editors', async (t) => {
    const schema = JSON.parse(
      readFileSync(new URL('../../gateway.schema.json', import.meta.url), 'utf8')
    ) as object
    const check = new Ajv({ strict: false }).compile(schema)
    t.ok(check({ routes: [{ path: '/a', proxy: { upstream: 'http://localhost:4001' } }] }))
    t.notOk(check({ routes: [{ path: 'a' }] }))
  })

  t.test('in strict mode, with the keywords of JSON Schema alone', async (t) => {
    const check = new Ajv({ strict: true, allowUnionTypes: true, strictTypes: false }).compile(
      composeStandardSchema(catalog)
    )
    t.ok(check({ routes: [{ path: '/a', proxy: { upstream: 'http://localhost:4001' } }] }))
    t.notOk(check({ routes: [{ path: 'a' }] }))
  })
})

t.test('every example in the schema is valid', async (t) => {
  let count = 0
  const walk = (schema: unknown, path: string): void => {
    if (typeof schema !== 'object' || schema === null) return
    const { examples, properties, patternProperties, items, anyOf, $defs } = schema as Record<string, object>
    if (Array.isArray(examples) && schemaError(schema) === undefined)
      for (const example of examples) {
        count += 1
        t.strictSame(
          validate(schema, example, () => undefined),
          [],
          `${path}: ${JSON.stringify(example)}`
        )
      }
    for (const map of [properties, patternProperties, $defs])
      for (const [key, inner] of Object.entries(map ?? {})) walk(inner, `${path}.${key}`)
    walk(items, `${path}[]`)
    for (const branch of (anyOf ?? []) as object[]) walk(branch, path)
  }
  walk(composeStandardSchema(catalog), 'gateway')
  t.ok(count > 200)
})
