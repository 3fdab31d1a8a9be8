import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { parse } from 'jsonc-parser'
import type { Test } from 'tap'
import { catalog } from '../../../src/gateway/catalog.ts'
import { importFile } from '../../../src/import/index.ts'
import type { Translation } from '../../../src/import/translation.ts'
import { gateway, type Seen, upstream } from '../../helpers.ts'

/** A request to a translated config, and what its source says of it. */
export interface Expected {
  readonly url: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly from?: string
  readonly status: number
  /** The path that the service gets. */
  readonly path?: string
  readonly location?: string
  readonly body?: string
  /** Headers that the service gets; undefined for none. */
  readonly gets?: Readonly<Record<string, string | undefined>>
  /** Headers of the response. */
  readonly has?: Readonly<Record<string, string | undefined>>
}

/** Files beside a source, in folders. */
interface Files {
  [name: string]: string | Files
}

/** A gateway of a translated config. */
export interface Translated {
  readonly text: string
  readonly translation: Translation
  readonly app: FastifyInstance
}

/** Translates a fixture and builds the gateway of what is printed; `127.0.0.1:4001` and `4002` are echo services. */
export async function translated(
  t: Test,
  format: Parameters<typeof importFile>[0],
  source: string,
  files: Files = {}
): Promise<Translated> {
  const name = source.includes('\n') ? 'source.conf' : source
  const text = source.includes('\n')
    ? source
    : readFileSync(new URL(`fixtures/${source}`, import.meta.url), 'utf8')
  const echo = (await upstream(t)).replace('http://', '')
  const second = (
    await upstream(t, (request, response) => {
      response.setHeader('x-user', 'ada')
      response.statusCode = request.headers.cookie === undefined ? 401 : 200
      response.end(request.url)
    })
  ).replace('http://', '')
  const folder = t.testdir({
    ...files,
    [name]: text.replaceAll('127.0.0.1:4001', echo).replaceAll('127.0.0.1:4002', second)
  })
  const result = await importFile(format, join(folder, name), catalog)
  const file = join(folder, 'gateway.json')
  // Certificates are on other machines.
  const { tls, ...config } = parse(result.text) as { tls?: unknown }
  writeFileSync(file, tls === undefined ? result.text : JSON.stringify(config))
  const env = { ...Object.fromEntries(result.translation.variables), SESSION_SECRET: 'x'.repeat(40) }
  return { ...result, app: await gateway(t, file, { env }) }
}

/** Sends requests one after the other and compares what comes back. */
export async function expectAll(t: Test, { app }: Translated, expected: readonly Expected[]): Promise<void> {
  for (const { url, method = 'GET', headers = {}, from = '198.51.100.7', ...wanted } of expected) {
    const response = await app.inject({ method: method as 'GET', url, headers, remoteAddress: from })
    const what = `${method} ${headers['host'] ?? ''}${url}`
    t.equal(response.statusCode, wanted.status, `${what}: status`)
    if (wanted.location !== undefined)
      t.equal(response.headers['location'], wanted.location, `${what}: location`)
    if (wanted.body !== undefined) t.equal(response.body, wanted.body, `${what}: body`)
    for (const [name, value] of Object.entries(wanted.has ?? {}))
      t.equal(response.headers[name], value, `${what}: response header ${name}`)
    if (wanted.path === undefined && wanted.gets === undefined) continue
    const seen = JSON.parse(response.body) as Seen
    if (wanted.path !== undefined) t.equal(seen.url, wanted.path, `${what}: path at the service`)
    for (const [name, value] of Object.entries(wanted.gets ?? {}))
      t.equal(seen.headers[name], value, `${what}: header ${name} at the service`)
  }
}
