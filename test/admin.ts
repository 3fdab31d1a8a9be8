import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Admin, openAdmin } from '../src/admin/listener.ts'
import { adminSourceOf } from '../src/admin/report.ts'
import { loadPlan } from '../src/config/load.ts'
import { catalog } from '../src/gateway/catalog.ts'
import { Engine } from '../src/process/engine.ts'
import { readSettings } from '../src/process/settings.ts'
import { type ReadableLog, readableLog, SECRET } from './helpers.ts'

/** A gateway and its admin listener. */
export interface Stage extends Pick<ReadableLog, 'line' | 'lines'> {
  readonly engine: Engine
  readonly url: string
  readonly admin: string
  readonly file: string
  readonly address: Admin['address']
  /** Replaces the config file. */
  write(config: object | string): void
}

/** Starts the gateway of a config file with its admin listener, as a process has them. */
export async function stage(
  t: Test,
  config: object | string,
  {
    token,
    purgeToken,
    host = '127.0.0.1',
    env = {}
  }: { token?: string; purgeToken?: string; host?: string; env?: Record<string, string> } = {}
): Promise<Stage> {
  const file = join(t.testdir(), 'gateway.json')
  const write = (next: object | string): void =>
    writeFileSync(file, typeof next === 'string' ? next : JSON.stringify(next))
  write(config)
  const settings = readSettings({
    PORT: '0',
    GATEWAY_CONFIG: file,
    ...(token === undefined ? {} : { ADMIN_TOKEN: token })
  })
  const plan = await loadPlan(file, catalog, { SESSION_SECRET: SECRET, ...env })
  const { log, line, lines } = readableLog()
  const readPlan = (): ReturnType<typeof loadPlan> => loadPlan(file, catalog, process.env)
  const engine = await Engine.start({ settings, plan, readPlan }, log, (error) => {
    throw error
  })
  t.teardown(() => engine.served.close())
  const { address, close } = await openAdmin(adminSourceOf(engine), {
    host,
    port: 0,
    token,
    purgeToken,
    version: '1.2.3',
    log,
    reload: (why) => engine.reload(why)
  })
  t.teardown(close)
  const { port } = engine.served.address
  return {
    engine,
    file,
    write,
    address,
    line,
    lines,
    url: `http://127.0.0.1:${port}`,
    admin: `http://127.0.0.1:${address.port}`
  }
}
