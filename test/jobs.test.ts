import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { showFault } from '../src/config/fault.ts'
import { lint } from '../src/config/lint.ts'
import { loadConfig } from '../src/index.ts'
import { listening, originOf } from './helpers.ts'
import { runScenario, stage } from './scenario.ts'

const jobs = fileURLToPath(new URL('../examples/jobs', import.meta.url))
const names = readdirSync(jobs, { withFileTypes: true }).filter((entry) => entry.isDirectory())

for (const { name } of names)
  t.test(name, async (t) => {
    const folder = join(jobs, name)
    const staged = await stage(t, folder)
    const { app, env } = staged
    const plan = await loadConfig(join(folder, 'gateway.json'), env)
    const { warnings } = lint(plan, app.routeInfos, {
      workers: 1,
      pairs: app.ambiguousPairs(),
      descriptors: undefined
    })
    t.strictSame(warnings.map(showFault), [], '"check --strict" has no warning')
    await runScenario(t, staged)
  })

/** Starts the gateway of a job in front of a service that the test plays itself. */
async function played(
  t: Test,
  { job, variable, env }: { job: string; variable: string; env: Record<string, string> }
): Promise<{ port: number; server: Server }> {
  const server = createServer()
  const url = await originOf(t, server)
  const config = join(jobs, job, 'gateway.json')
  const { port } = await listening(t, config, { env: { ...env, [variable]: url } })
  return { port, server }
}

t.test('uploads: the service has the first bytes before the client sends the last', async (t) => {
  const key = 'a-key-of-the-studio-0123456789ab'
  const { port, server } = await played(t, {
    job: 'uploads',
    variable: 'STORE_URL',
    env: { STUDIO_KEY: key }
  })
  const sent = request({
    port,
    method: 'PUT',
    path: '/uploads/film.mov',
    // A length of 5 GB is accepted; this client leaves before it has sent them all.
    headers: { 'x-api-key': key, 'content-length': 5 * 1024 ** 3 }
  })
  sent.on('error', () => {})
  sent.write('the first bytes')
  const [received] = (await once(server, 'request')) as [IncomingMessage]
  received.on('error', () => {})
  const [chunk] = (await once(received, 'data')) as [Buffer]
  t.equal(chunk.toString(), 'the first bytes')
  t.equal(received.headers['content-length'], '5368709120')
  sent.destroy()
})

t.test('llm: an event reaches the client before the service sends the next', async (t) => {
  const env = {
    SEARCH_KEY: 'key-of-the-search-team-0123456789',
    BATCH_KEY: 'key-of-the-batch-team',
    LLM_KEY: 'p'
  }
  const { port, server } = await played(t, { job: 'llm', variable: 'LLM_URL', env })
  const sent = request({
    port,
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { authorization: `Bearer ${env.SEARCH_KEY}`, 'accept-encoding': 'gzip' }
  })
  sent.end('{"stream":true}')
  const [, answer] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
  answer.writeHead(200, { 'content-type': 'text/event-stream' })
  answer.write('data: Hel\n\n')
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  t.equal(response.headers['content-encoding'], undefined)
  t.equal(String((await once(response, 'data'))[0]), 'data: Hel\n\n')
  answer.end('data: lo\n\n')
  t.equal(String((await once(response, 'data'))[0]), 'data: lo\n\n')
})

t.test('teams: a file that opens a route to everybody is an error that names both places', async (t) => {
  const shop = '{ "routes": [{ "path": "/x", "auth": false, "respond": { "body": "x" } }] }'
  const config = readFileSync(join(jobs, 'teams/gateway.json'), 'utf8')
  const folder = t.testdir({ 'gateway.json': config, teams: { 'shop.json': shop } })
  const loaded = loadConfig(join(folder, 'gateway.json'), { PARTNER_KEY: 'a-key-of-a-partner-0123456789abc' })
  await t.rejects(loaded, /teams\/shop\.json:1:.*auth.*gateway\.json:\d+/s)
})
