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

/** Where keys, certificates and the answers to challenges are, for all instances that share them. */
export interface Storage {
  /** Reads a text; undefined where there is none. */
  read(name: string): Promise<string | undefined>
  /** Writes a text whole, or not at all; one that `lasts` some milliseconds may be gone after that. */
  write(name: string, text: string, lasts?: number): Promise<void>
  remove(name: string): Promise<void>
  /** Takes a lock that nobody else holds; undefined where somebody does. */
  lock(name: string): Promise<Lock | undefined>
}

/** A lock that this instance holds until it lets go, or for `pace.lock` after it last said so. */
export interface Lock {
  /** Holds it for longer; false where it was lost. */
  extend(): Promise<boolean>
  release(): Promise<void>
}

/** Keeps things in a folder that nobody but this user can read. */
export class DiskStorage implements Storage {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async read(name: string): Promise<string | undefined> {
    return readFile(this.#file(name), 'utf8').catch(ignoreMissing)
  }

  async write(name: string, text: string, lasts?: number): Promise<void> {
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
    if (lasts !== undefined) await removeExpired(dirname(file), lasts)
  }

  async remove(name: string): Promise<void> {
    await rm(this.#file(name), { force: true })
  }

  async lock(name: string): Promise<Lock | undefined> {
    const file = this.#file(`${name}.lock`)
    const mine = randomUUID()
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    if (!(await createFile(file, mine))) {
      const { mtimeMs = wall() } = (await stat(file).catch(ignoreMissing)) ?? {}
      if (
        wall() - mtimeMs < timings.lockLifetime ||
        !(await takeStaleLock(file)) ||
        !(await createFile(file, mine))
      )
        return undefined
    }
    const held = async (): Promise<boolean> => (await readFile(file, 'utf8').catch(ignoreMissing)) === mine
    return {
      async extend() {
        if (!(await held())) return false
        await setModified(file)
        return true
      },
      async release() {
        if (await held()) await rm(file, { force: true })
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

/** Creates a file that is not there yet; false where it is. */
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

// The age of a lock is told by the clock that looks at it, whatever the clock of the folder says.
async function setModified(file: string): Promise<void> {
  const at = wall() / 1000
  await utimes(file, at, at)
}

// Of several that find a lock whose holder is gone, one gets it by renaming; who got a newer one by mistake gives it back.
async function takeStaleLock(file: string): Promise<boolean> {
  const aside = `${file}.${randomUUID()}.tmp`
  try {
    await rename(file, aside)
    const { mtimeMs } = await stat(aside)
    if (wall() - mtimeMs >= timings.lockLifetime) return true
    await link(aside, file).catch(() => {})
    return false
  } catch {
    return false
  } finally {
    await rm(aside, { force: true })
  }
}

// What a process has left behind that ended in the middle of it.
async function removeExpired(folder: string, lasts: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    const { mtimeMs = Number.POSITIVE_INFINITY } = (await stat(file).catch(ignoreMissing)) ?? {}
    if (wall() - mtimeMs > lasts) await rm(file, { force: true })
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
