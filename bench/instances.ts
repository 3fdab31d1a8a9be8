import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import { end, listening, pinned } from './processes.ts'

const BIN = fileURLToPath(new URL('../bin/sallyport.js', import.meta.url))

/** How a request ended: with a status, or with what went wrong on its connection. */
export interface Outcome {
  readonly status: number
  readonly broke: string | undefined
  /** Milliseconds. */
  readonly took: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** What a request may say beside its path. */
export interface Asked {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Record<string, string>
  readonly body?: string
}

/** One gateway in a process of its own, and the connections to it. */
export class Instance {
  readonly #port: number
  readonly #config: string
  readonly #env: Record<string, string>
  readonly #core: number | undefined
  #child: ChildProcess | undefined
  #pool: Pool | undefined

  constructor(port: number, config: string, env: Record<string, string>, core?: number) {
    this.#port = port
    this.#config = config
    this.#env = env
    this.#core = core
  }

  get process(): ChildProcess {
    if (this.#child === undefined) throw new Error('the instance was not started')
    return this.#child
  }

  async start(): Promise<void> {
    const args = [BIN, 'run', '-c', this.#config]
    const options: SpawnOptions = {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...this.#env, HOST: '127.0.0.1', PORT: String(this.#port), ADMIN_PORT: '' }
    }
    this.#child =
      this.#core === undefined
        ? spawn(process.execPath, args, options)
        : pinned(this.#core, process.execPath, args, options)
    await listening(this.#port)
    this.#pool = new Pool(`http://127.0.0.1:${this.#port}`, { connections: 8 })
  }

  async ask(path: string, { method = 'GET', headers = {}, body }: Asked = {}): Promise<Outcome> {
    const began = performance.now()
    const took = (): number => performance.now() - began
    try {
      if (this.#pool === undefined) throw new Error('the instance was not started')
      const said = await this.#pool.request({ path, method, headers, body: body ?? null })
      await said.body.dump()
      return { status: said.statusCode, broke: undefined, took: took(), headers: said.headers }
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      return { status: 0, broke: code ?? message, took: took(), headers: {} }
    }
  }

  /** Sends a signal and waits for the end of the process; tells its exit code. */
  async stop(signal: NodeJS.Signals): Promise<number | null> {
    const ended = once(this.process, 'exit')
    this.process.kill(signal)
    const [code] = (await ended) as [number | null]
    await this.#pool?.destroy()
    return code
  }

  async end(): Promise<void> {
    await this.#pool?.destroy()
    if (this.#child !== undefined) await end(this.#child)
  }
}

/** How a load balancer goes about its gateways. */
export interface Habits {
  /** Asks /-/ready this often, in milliseconds, and sends nothing to who is not ready; 0: never. */
  readonly asksEvery: number
  /** Tries a request that broke at the next one, once. */
  readonly retries: boolean
}

/** A load balancer in its simplest form: in turn, and no more to who breaks connections until it is ready again. */
export class Balancer {
  readonly #instances: readonly Instance[]
  readonly #habits: Habits
  readonly #out = new Set<Instance>()
  readonly #watch: NodeJS.Timeout | undefined
  #turn = 0
  retried = 0

  constructor(instances: readonly Instance[], habits: Habits) {
    this.#instances = instances
    this.#habits = habits
    if (habits.asksEvery > 0) this.#watch = setInterval(() => void this.#look(), habits.asksEvery)
  }

  async ask(path: string): Promise<Outcome> {
    const first = this.#next()
    const outcome = await first.ask(path)
    if (outcome.broke === undefined) return outcome
    this.#out.add(first)
    if (!this.#habits.retries) return outcome
    this.retried++
    return this.#next().ask(path)
  }

  stop(): void {
    clearInterval(this.#watch)
  }

  #next(): Instance {
    for (const _ of this.#instances) {
      const one = this.#instances[this.#turn++ % this.#instances.length] as Instance
      if (!this.#out.has(one)) return one
    }
    throw new Error('no instance is left')
  }

  async #look(): Promise<void> {
    for (const one of this.#instances) {
      const { status } = await one.ask('/-/ready')
      if (status === 200) this.#out.delete(one)
      else this.#out.add(one)
    }
  }
}

/** Sends requests, some at a time, until something says that it is enough. */
export async function load(
  atATime: number,
  ask: (n: number) => Promise<Outcome>,
  enough: (sent: number) => boolean
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let sent = 0
  const one = async (): Promise<void> => {
    while (!enough(sent)) outcomes.push(await ask(sent++))
  }
  await Promise.all(Array.from({ length: atATime }, one))
  return outcomes
}

/** The one Redis of a fleet, which keeps nothing on disk. */
export class Store {
  readonly port: number
  #child: ChildProcess | undefined

  constructor(port: number) {
    this.port = port
  }

  get process(): ChildProcess {
    if (this.#child === undefined) throw new Error('the store was not started')
    return this.#child
  }

  async start(): Promise<void> {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    this.#child = pinned(1, 'redis-server', args, { stdio: 'ignore' })
    await listening(this.port)
  }

  /** Ends the process, one that was stopped as well. */
  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const ended = once(this.process, 'exit')
    this.process.kill('SIGKILL')
    await ended
  }
}

/** Waits until something holds, asking again and again; tells after how many milliseconds it did. */
export async function until(holds: () => Promise<boolean>): Promise<number> {
  const began = performance.now()
  while (!(await holds())) await wait(20)
  return performance.now() - began
}
