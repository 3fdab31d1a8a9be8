import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

const PINS = spawnSync('taskset', ['-V']).error === undefined
const TICKS = Number(execFileSync('getconf', ['CLK_TCK']).toString())

/** Puts a command on one core, where taskset is. */
export function onCore(core: number, command: string, args: readonly string[]): [string, string[]] {
  return PINS ? ['taskset', ['-c', String(core), command, ...args]] : [command, [...args]]
}

/** Starts a process on one core. */
export function pinned(
  core: number,
  command: string,
  args: readonly string[],
  options: SpawnOptions
): ChildProcess {
  return spawn(...onCore(core, command, args), options)
}

/** Ends a process and waits until it has. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill()
  await new Promise((resolve) => child.once('exit', resolve))
}

/** Tells the user and system time of a process and its children in seconds (proc(5), fields 14 and 15 of stat). */
export function cpuOf({ pid = 0 }: ChildProcess): number {
  return treeOf(pid).reduce((sum, each) => {
    const fields = readFileSync(`/proc/${each}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS
  }, 0)
}

/** Tells the resident memory of a process and its children in MB. */
export function memoryOf({ pid = 0 }: ChildProcess): number {
  const of = (each: number): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1] ?? 0) / 1024
  return treeOf(pid).reduce((sum, each) => sum + of(each), 0)
}

function treeOf(pid: number): number[] {
  const children = spawnSync('pgrep', ['-P', String(pid)])
    .stdout.toString()
    .split('\n')
    .filter(Boolean)
  return [pid, ...children.flatMap((child) => treeOf(Number(child)))]
}

/** Waits until somebody listens on a port of this machine, 30 s at most. */
export async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true))
      socket.on('error', () => resolve(false)).on('connect', () => socket.destroy())
    })
    if (open) return
    await wait(100)
  }
  throw new Error(`nobody listens on ${port}`)
}
