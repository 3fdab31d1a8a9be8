import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { isObject } from '../../lib/schema.ts'
import { temporaryFolder } from '../certificate.ts'
import { openClient } from '../client.ts'
import { connectPeers } from '../peers.ts'
import { atEnd, type TestScope } from '../scope.ts'
import { expect, expectPassed, expectRefused } from './expect.ts'
import type { ConformanceRequest } from './setup.ts'
import { fetchParameters, isPending, type Subject } from './subject.ts'

/** Checks that a module works beside another worker, and in one that starts later. Both are gateways of this process whose messages are copied, as between processes. */
export async function checkPeers(subject: Subject, t: TestScope): Promise<void> {
  const config = await subject.config(t)
  const peers = connectPeers(3)
  const start = (i: number): ReturnType<Subject['start']> => {
    const own = peers[i]
    return subject.start(t, config, own === undefined ? {} : { peers: own })
  }
  const first = await start(0)
  const second = await start(1)
  expectPassed(subject, await first.send(subject.passed), 'in a worker')
  expectPassed(subject, await second.send(subject.passed), 'in another worker')
  if (subject.refused.length > 0) expectRefused(subject, await subject.refuse(first), 'in a worker')
  const third = await start(2)
  try {
    peers[2]?.catchUp()
  } catch (error) {
    throw new Error(
      `expected messages between workers that can be copied, got ${String(error)}; send plain data by app.resources.peers`,
      { cause: error }
    )
  }
  if (subject.refused.length > 0)
    expectRefused(subject, await subject.refuse(third), 'in a worker that starts later')
}

/** Returns a config whose extensions have absolute names; undefined if it has none, so that the command line could not load the module. */
function withAbsoluteModules(config: object): object | undefined {
  if (!('extensions' in config) || !Array.isArray(config.extensions)) return undefined
  const from = createRequire(resolve('gateway.json'))
  return {
    ...config,
    extensions: config.extensions.map((entry: unknown) => {
      if (!isObject(entry) || typeof entry['module'] !== 'string') return entry
      const { module } = entry
      return { ...entry, module: module.startsWith('.') ? resolve(module) : from.resolve(module) }
    })
  }
}

/** Checks that two worker processes of the command line serve a config that loads the module by `extensions`, and end when they are asked to. */
export async function checkProcesses(subject: Subject, t: TestScope): Promise<void> {
  const config = withAbsoluteModules(await subject.config(t))
  if (config === undefined) return
  const file = join(await temporaryFolder(t), 'gateway.json')
  await writeFile(file, JSON.stringify(config))
  const gateway = await startCommand(t, file, subject.env)
  const client = openClient(t, gateway.url, undefined, '1.1')
  const statusOf = async (request: ConformanceRequest): Promise<number> => {
    const response = await client(...fetchParameters(request))
    await response.text()
    return response.status
  }
  const passed = await statusOf(subject.passed)
  expect(passed < 500, `expected an answer of a worker process, got status ${passed}`)
  let refused = 400
  for (const request of subject.refused.filter((each) => !isPending(each))) refused = await statusOf(request)
  // What is counted in several requests may have reached different workers.
  expect(
    refused >= 300 || subject.refused.length > 1,
    `expected a worker process to refuse the request of "refused", got status ${refused}`
  )
  expect(
    (await gateway.stop()) === 0,
    'expected the workers to end on SIGTERM with exit code 0, got another one; close handles in an onClose hook'
  )
}

interface CommandLine {
  readonly url: string
  /** Sends SIGTERM, and resolves to the exit code. */
  stop(): Promise<number | null>
}

/** Runs `sallyport run` with two workers, until the end of a test at the latest. */
async function startCommand(
  t: TestScope,
  file: string,
  env: Readonly<Record<string, string>>
): Promise<CommandLine> {
  const bin = join(dirname(fileURLToPath(import.meta.resolve('sallyport/package.json'))), 'bin/sallyport.js')
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const child = spawn(process.execPath, [bin, 'run', '-c', file], {
    env: {
      PATH,
      NODE_COMPILE_CACHE,
      ...env,
      WORKERS: '2',
      HOST: '127.0.0.1',
      PORT: '0'
    },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  atEnd(t, async () => {
    child.kill('SIGKILL')
    await ended
  })
  let output = ''
  child.stderr.on('data', (data: Buffer) => {
    output += data.toString()
  })
  const port = await new Promise<unknown>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      output += `${line}\n`
      const found = line.startsWith('{') ? (JSON.parse(line) as { port?: unknown }).port : undefined
      if (found !== undefined) resolve(found)
    })
    void ended.then((code) =>
      reject(
        new Error(`expected "sallyport run" to listen with two workers, got exit code ${code}: ${output}`)
      )
    )
  })
  return {
    url: `http://127.0.0.1:${String(port)}`,
    stop: () => {
      child.kill('SIGTERM')
      return ended
    }
  }
}
