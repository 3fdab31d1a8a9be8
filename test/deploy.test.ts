import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DockerfileParser, type JSONInstruction } from 'dockerfile-ast'
import { validate } from 'dockerfile-utils'
import t from 'tap'
import { variables } from '../src/settings.ts'
import { certificate, listening, noOpenssl } from './helpers.ts'
import { freePort } from './redis.ts'

const top = fileURLToPath(new URL('..', import.meta.url))
const read = (file: string): string => readFileSync(join(top, file), 'utf8')

/** The variables that a process reads. */
const NAMES: ReadonlySet<string> = new Set([
  ...variables.map(({ name }) => name),
  'ADMIN_HOST',
  'ADMIN_PORT',
  'ADMIN_TOKEN',
  'WORKERS'
])

t.test('the image', async (t) => {
  const dockerfile = DockerfileParser.parse(read('Dockerfile'))
  const instructions = dockerfile.getInstructions()
  const last = instructions.findLastIndex((each) => each.getKeyword() === 'FROM')
  const final = instructions.slice(last)
  const said = (keyword: string): string =>
    final.find((each) => each.getKeyword() === keyword)?.getArgumentsContent() ?? ''

  t.strictSame(validate(read('Dockerfile')), [], 'a linter finds nothing')
  t.match(said('USER'), /^[1-9]\d*:[1-9]\d*$/, 'it runs as a number that is not root')
  for (const keyword of ['ENTRYPOINT', 'CMD']) {
    const one = final.find((each) => each.getKeyword() === keyword) as JSONInstruction | undefined
    t.ok(one?.getOpeningBracket(), `${keyword} runs without a shell, so that signals reach Node.js`)
  }
  t.match(said('ENTRYPOINT'), /^\["node", /)
  t.match(said('HEALTHCHECK'), /CMD \["node", /)
  t.match(said('ENV'), 'HOST=0.0.0.0')
  for (const [, name = ''] of said('ENV').matchAll(/(\w+)=/g))
    t.ok(name === 'NODE_ENV' || NAMES.has(name), `${name} is a variable of src/settings.ts`)
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } }
  t.match(
    dockerfile.getFROMs()[0]?.getImage(),
    `node:${/\d+/.exec(engines.node)}`,
    'it has the Node.js that package.json wants'
  )

  t.test('takes what it copies from the repository, past .dockerignore', async (t) => {
    const [all, ...letIn] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    t.equal(all, '*')
    const copied = dockerfile.getCOPYs().filter((each) => !each.getFromFlag())
    t.ok(copied.length > 5)
    for (const source of copied.flatMap((each) => each.getArguments().slice(0, -1))) {
      t.ok(existsSync(join(top, source.getValue())), `${source.getValue()} is there`)
      t.ok(letIn.includes(`!${source.getValue()}`), `.dockerignore lets in ${source.getValue()}`)
    }
  })

  t.test('asks itself whether it lives', async (t) => {
    const health = async (port: number): Promise<number> => {
      const child = spawn(process.execPath, [join(top, 'deploy/healthcheck.js')], {
        env: { ...process.env, PORT: String(port) },
        stdio: 'ignore'
      })
      const [code] = (await once(child, 'exit')) as [number]
      return code
    }
    const routes = [{ path: '/', respond: { body: 'fine' } }]
    const plain = await listening(t, { routes })
    t.equal(await health(plain.port), 0)
    t.equal(await health(await freePort()), 1, 'nobody is there')
    t.test('over TLS', { skip: noOpenssl }, async (t) => {
      const { ca } = certificate(t)
      const tls = { certificates: [{ cert: ca, key: ca.replace('up.pem', 'up.key') }] }
      t.equal(await health((await listening(t, { tls, routes })).port), 0)
      const strict = { ...tls, clientCertificates: { ca, required: true } }
      t.equal(await health((await listening(t, { tls: strict, routes })).port), 0, 'which refuses strangers')
    })
  })
})
