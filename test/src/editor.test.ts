import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Readable, Writable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'

// What an editor makes of gateway.schema.json, by the language server of VS Code, spoken to as an editor does.

const BIN = createRequire(import.meta.url).resolve(
  'vscode-json-languageserver/bin/vscode-json-languageserver'
)
const schema = readFileSync(new URL('../../gateway.schema.json', import.meta.url), 'utf8')

interface Position {
  readonly line: number
  readonly character: number
}

interface Diagnostic {
  readonly message: string
  readonly range: { readonly start: Position; readonly end: Position }
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: { readonly uri: string; readonly diagnostics: Diagnostic[] }
  readonly result?: unknown
}

/** A language server on the other end of a pipe (Language Server Protocol 3.16). */
class Server {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #waiting = new Set<{ wanted: (message: Message) => boolean; take: (message: Message) => void }>()
  #rest: Buffer = Buffer.alloc(0)
  #asked = 0

  constructor() {
    this.#child = spawn(process.execPath, [BIN, '--stdio'], { stdio: ['pipe', 'pipe', 'ignore'] })
    this.#child.stdout.on('data', (data: Buffer) => this.#read(data))
  }

  #read(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data])
    for (;;) {
      const end = this.#rest.indexOf('\r\n\r\n')
      if (end === -1) return
      const length = Number(/content-length: (\d+)/i.exec(this.#rest.toString('latin1', 0, end))?.[1])
      if (this.#rest.length < end + 4 + length) return
      const message = JSON.parse(this.#rest.toString('utf8', end + 4, end + 4 + length)) as Message
      this.#rest = this.#rest.subarray(end + 4 + length)
      for (const one of this.#waiting)
        if (one.wanted(message)) {
          this.#waiting.delete(one)
          one.take(message)
        }
    }
  }

  #send(message: object): void {
    const text = JSON.stringify({ jsonrpc: '2.0', ...message })
    this.#child.stdin.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
  }

  tell(method: string, params: object): void {
    this.#send({ method, params })
  }

  async ask(method: string, params: object): Promise<unknown> {
    const id = ++this.#asked
    const answer = this.#await((message) => message.id === id && message.method === undefined)
    this.#send({ id, method, params })
    return (await answer).result
  }

  /** Waits for what the server says next of a file. */
  async diagnostics(uri: string): Promise<Diagnostic[]> {
    const { params } = await this.#await(
      (message) => message.method === 'textDocument/publishDiagnostics' && message.params?.uri === uri
    )
    return params?.diagnostics ?? []
  }

  #await(wanted: (message: Message) => boolean): Promise<Message> {
    return new Promise((take) => this.#waiting.add({ wanted, take }))
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill()
    await ended
  }
}

async function server(t: Test): Promise<Server> {
  const made = new Server()
  t.teardown(() => made.close())
  await made.ask('initialize', {
    processId: process.pid,
    rootUri: null,
    capabilities: { textDocument: { completion: { completionItem: { snippetSupport: true } }, hover: {} } }
  })
  made.tell('initialized', {})
  return made
}

/** Opens a config beside the schema that its "$schema" names; a "|" in the text is where the cursor stands. */
async function open(
  t: Test,
  editor: Server,
  body: string
): Promise<{ uri: string; position: Position; wrong: Diagnostic[] }> {
  const text = `{ "$schema": "./gateway.schema.json",\n${body} }`
  const before = text.slice(0, text.indexOf('|')).split('\n')
  const written = text.replace('|', '')
  const folder = t.testdir({ 'gateway.json': written, 'gateway.schema.json': schema })
  const uri = pathToFileURL(`${folder}/gateway.json`).href
  const wrong = editor.diagnostics(uri)
  editor.tell('textDocument/didOpen', {
    textDocument: { uri, languageId: 'jsonc', version: 1, text: written }
  })
  return {
    uri,
    position: { line: before.length - 1, character: before.at(-1)?.length ?? 0 },
    wrong: await wrong
  }
}

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
      const { uri, position } = await open(t, editor, body)
      const { items } = (await editor.ask('textDocument/completion', {
        textDocument: { uri },
        position
      })) as {
        items: { label: string }[]
      }
      const labels = new Set(items.map(({ label }) => label))
      for (const word of words) t.ok(labels.has(word), `offers ${word}`)
      for (const word of not) t.notOk(labels.has(word), `does not offer ${word}`)
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
