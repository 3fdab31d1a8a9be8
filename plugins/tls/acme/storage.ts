import { randomUUID } from 'node:crypto'
import {
  type FileHandle,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { wall } from '../../../src/lib/clock.ts'
import { timings } from './timings.ts'

/** The storage of keys, certificates and challenge responses that instances share. */
export interface Storage {
  /** Reads a value; undefined if there is none. */
  read(name: string): Promise<string | undefined>
  /** Writes a value atomically; it may be removed after `lifetimeMs`. */
  write(name: string, text: string, lifetimeMs?: number): Promise<void>
  remove(name: string): Promise<void>
  /** Acquires a lock; undefined if another instance holds it. */
  lock(name: string): Promise<Lock | undefined>
}

/** A held lock, which expires `timings.lockLifetime` after it was last extended. */
export interface Lock {
  /** Extends the lock; false if it was lost. */
  extend(): Promise<boolean>
  release(): Promise<void>
}

/** A storage in a folder that only this user can read. */
export class DiskStorage implements Storage {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async read(name: string): Promise<string | undefined> {
    return readFile(this.#file(name), 'utf8').catch(ignoreMissing)
  }

  async write(name: string, text: string, lifetimeMs?: number): Promise<void> {
    const file = this.#file(name)
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const draft = `${file}.${randomUUID()}.tmp`
    const handle = await open(draft, 'wx', 0o600)
    try {
      await writeAndSync(handle, text)
      await rename(draft, file)
    } catch (error) {
      await rm(draft, { force: true })
      throw error
    }
    if (lifetimeMs !== undefined) await removeExpired(dirname(file), lifetimeMs)
  }

  async remove(name: string): Promise<void> {
    await rm(this.#file(name), { force: true })
  }

  async lock(name: string): Promise<Lock | undefined> {
    const file = this.#file(`${name}.lock`)
    const token = randomUUID()
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    if (!(await createFile(file, token))) {
      const { mtimeMs = wall() } = (await stat(file).catch(ignoreMissing)) ?? {}
      if (isRecent(mtimeMs) || !(await takeStaleLock(file)) || !(await createFile(file, token)))
        return undefined
    }
    const isHeld = async (): Promise<boolean> => (await readFile(file, 'utf8').catch(ignoreMissing)) === token
    return {
      async extend() {
        if (!(await isHeld())) return false
        await setModified(file)
        return true
      },
      async release() {
        if (await isHeld()) await rm(file, { force: true })
      }
    }
  }

  #file(name: string): string {
    return join(this.#folder, name)
  }
}

async function writeAndSync(handle: FileHandle, text: string): Promise<void> {
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Creates a file; false if it exists. */
async function createFile(file: string, text: string): Promise<boolean> {
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return undefined
    throw error
  })
  if (handle === undefined) return false
  await writeAndSync(handle, text)
  await setModified(file)
  return true
}

// The age of a lock is measured by this process's clock, which may differ from that of the file system.
async function setModified(file: string): Promise<void> {
  const at = wall() / 1000
  await utimes(file, at, at)
}

// The rename lets one of several instances remove a stale lock; a newer lock renamed by mistake is restored.
async function takeStaleLock(file: string): Promise<boolean> {
  const aside = `${file}.${randomUUID()}.tmp`
  try {
    await rename(file, aside)
    const { mtimeMs } = await stat(aside)
    if (!isRecent(mtimeMs)) return true
    await link(aside, file).catch(() => {})
    return false
  } catch {
    return false
  } finally {
    await rm(aside, { force: true })
  }
}

// Removes what a process left behind that was killed.
async function removeExpired(folder: string, lifetimeMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    const { mtimeMs = Number.POSITIVE_INFINITY } = (await stat(file).catch(ignoreMissing)) ?? {}
    if (wall() - mtimeMs > lifetimeMs) await rm(file, { force: true })
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

// A time in the future is that of a clock that was set back: its lock ends as late as any other.
const isRecent = (mtimeMs: number): boolean => Math.abs(wall() - mtimeMs) < timings.lockLifetime
