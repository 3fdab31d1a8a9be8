import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Readable, Writable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import type { Test } from 'tap'

/** A place in a text, counted from 0. */
export interface Position {
  readonly line: number
  readonly character: number
}

/** An error that an editor marks. */
export interface Diagnostic {
  readonly message: string
  readonly range: { readonly start: Position; readonly end: Position }
}

/** A proposal of an editor at the cursor. */
export interface Completion {
  readonly label: string
  /** 10 for an option (CompletionItemKind.Property). */
  readonly kind?: number
  readonly insertText?: string
  readonly sortText?: string
  readonly textEdit?: { readonly newText: string }
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: {
    readonly uri: string
    readonly diagnostics: Diagnostic[]
    readonly items?: readonly { readonly section: string }[]
  }
  readonly result?: unknown
}

/** A language server on the other end of a pipe (Language Server Protocol 3.16). */
export class LanguageServer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #waiting = new Set<{ wanted: (message: Message) => boolean; take: (message: Message) => void }>()
  #rest: Buffer = Buffer.alloc(0)
  #asked = 0

  /** Starts the server whose executable a package has at `bin`. */
  constructor(bin: string) {
    this.#child = spawn(process.execPath, [createRequire(import.meta.url).resolve(bin), '--stdio'], {
      stdio: ['pipe', 'pipe', 'ignore']
    })
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
      if (message.id !== undefined && message.method !== undefined) this.#reply(message.id, message)
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

  // The settings of an editor that was just installed; the schema store is on the internet.
  #reply(id: number, { params }: Message): void {
    const settings = params?.items?.map(({ section }) =>
      section === 'yaml' ? { schemaStore: { enable: false } } : null
    )
    this.#send({ id, result: settings ?? null })
  }

  /** Sends a notification. */
  tell(method: string, params: object): void {
    this.#send({ method, params })
  }

  /** Sends a request and returns its result. */
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

  /** Ends the process. */
  async close(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill()
    await ended
  }
}

/** Starts a language server that has no settings, as in an editor that was just installed. */
export async function languageServer(t: Test, bin: string): Promise<LanguageServer> {
  const made = new LanguageServer(bin)
  t.teardown(() => made.close())
  await made.ask('initialize', {
    processId: process.pid,
    rootUri: null,
    capabilities: { textDocument: { completion: { completionItem: { snippetSupport: true } }, hover: {} } }
  })
  made.tell('initialized', {})
  return made
}

/** A file that is open in an editor. */
export interface OpenFile {
  readonly uri: string
  readonly position: Position
  readonly wrong: readonly Diagnostic[]
}

/** Opens a file beside the schemas of configs and of tests; a "|" in the text is where the cursor stands. */
export async function openFile(
  t: Test,
  editor: LanguageServer,
  { name, languageId, text }: { readonly name: string; readonly languageId: string; readonly text: string }
): Promise<OpenFile> {
  const before = text.slice(0, text.indexOf('|')).split('\n')
  const written = text.replace('|', '')
  const schemas = ['gateway.schema.json', 'gateway.test.schema.json'].map((schema) => [
    schema,
    readFileSync(new URL(`../${schema}`, import.meta.url), 'utf8')
  ])
  const folder = t.testdir({ [name]: written, ...Object.fromEntries(schemas) })
  const uri = pathToFileURL(`${folder}/${name}`).href
  const wrong = editor.diagnostics(uri)
  editor.tell('textDocument/didOpen', { textDocument: { uri, languageId, version: 1, text: written } })
  return {
    uri,
    position: { line: before.length - 1, character: before.at(-1)?.length ?? 0 },
    wrong: await wrong
  }
}

/** Returns what an editor proposes at the cursor, by its label. */
export async function completionsAt(
  editor: LanguageServer,
  { uri, position }: OpenFile
): Promise<Map<string, Completion>> {
  const found = await editor.ask('textDocument/completion', { textDocument: { uri }, position })
  const items = Array.isArray(found) ? found : (found as { items: Completion[] }).items
  return new Map((items as Completion[]).map((item) => [item.label, item]))
}
