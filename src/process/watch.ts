import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { dirname, isAbsolute, join, parse, resolve, sep } from 'node:path'
import type { Logger } from 'pino'
import { startInterval, startTimer, stopTimer, type Timer } from '../lib/clock.ts'

// Editors and Kubernetes write in several steps; a file is read once it has not changed for this long.
const DEBOUNCE_MS = 100

// Network file systems and some containers report no changes, so that files are also polled.
const POLL_INTERVAL_MS = 60_000
const UNWATCHED_POLL_INTERVAL_MS = 5000

// The limit of symbolic links in one path on Linux.
const MAX_LINKS = 40

/** Watches files for changed contents. */
export class FileWatch {
  readonly #onChange: () => void
  readonly #log: Pick<Logger, 'warn'>
  /** The digest of each file when it was last read. */
  #digests = new Map<string, string>()
  #watchers: fs.FSWatcher[] = []
  #debounceTimer: Timer | undefined
  #pollTimer: Timer | undefined
  #pollInterval = 0
  #warned = false

  /** Makes a watch without files; `onChange` is called when the contents of some have changed. */
  constructor(onChange: () => void, log: Pick<Logger, 'warn'>) {
    this.#onChange = onChange
    this.#log = log
  }

  /** Replaces the list of watched files; a file that is already watched is compared with its last digest. */
  watch(files: readonly string[]): void {
    this.#digests = new Map(
      files.map((file) => resolve(file)).map((file) => [file, this.#digests.get(file) ?? digest(file)])
    )
    this.#rearm()
    // The event of a change may have been lost with the watchers before.
    if (this.#hasChanged()) this.#checkSoon()
  }

  /** Stops watching. */
  close(): void {
    stopTimer(this.#debounceTimer)
    stopTimer(this.#pollTimer)
    this.#pollInterval = 0
    this.#digests.clear()
    this.#disarm()
  }

  #disarm(): void {
    for (const watcher of this.#watchers) watcher.close()
    this.#watchers = []
  }

  /** Watches every folder on the path to each file again: a folder or the target of a link may have been replaced. */
  #rearm(): void {
    this.#disarm()
    let failed: NodeJS.ErrnoException | undefined
    for (const [folder, names] of foldersOnPaths(this.#digests.keys())) {
      try {
        const watcher = fs.watch(folder, (_event, name) => {
          if (name === null || names.has(name)) this.#checkSoon()
        })
        watcher.on('error', () => this.#checkSoon())
        this.#watchers.push(watcher)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        // The folder is missing or not readable; the one above it is watched.
        if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'ENOTDIR')
          failed = error as NodeJS.ErrnoException
      }
    }
    if (failed !== undefined && !this.#warned) {
      this.#warned = true
      this.#log.warn(
        { code: failed.code, everySeconds: UNWATCHED_POLL_INTERVAL_MS / 1000 },
        'file watching failed, polling instead; fs.inotify.max_user_instances or max_user_watches may be used up'
      )
    }
    this.#poll(
      this.#digests.size === 0 ? 0 : failed === undefined ? POLL_INTERVAL_MS : UNWATCHED_POLL_INTERVAL_MS
    )
  }

  #poll(interval: number): void {
    if (interval === this.#pollInterval) return
    this.#pollInterval = interval
    stopTimer(this.#pollTimer)
    if (interval > 0) this.#pollTimer = startInterval(() => this.#pollFiles(), interval).unref()
  }

  /** Compares the files once no event has come for a while. */
  #checkSoon(): void {
    stopTimer(this.#debounceTimer)
    this.#debounceTimer = startTimer(() => {
      this.#rearm()
      if (this.#updateDigests()) this.#onChange()
    }, DEBOUNCE_MS)
  }

  /** Finds changes that no watcher has reported; a file that is being written gets time to settle. */
  #pollFiles(): void {
    if (this.#hasChanged()) this.#checkSoon()
    else this.#rearm()
  }

  #hasChanged(): boolean {
    return [...this.#digests].some(([file, before]) => digest(file) !== before)
  }

  /** Reads all files; returns whether one has changed. */
  #updateDigests(): boolean {
    let changed = false
    for (const [file, before] of this.#digests) {
      const now = digest(file)
      if (now === before) continue
      changed = true
      this.#digests.set(file, now)
    }
    return changed
  }
}

function digest(file: string): string {
  try {
    return createHash('sha256').update(fs.readFileSync(file)).digest('base64')
  } catch {
    return 'missing'
  }
}

/** Lists the folders on the paths to files, through all symbolic links, each with the names that are followed in it. */
function foldersOnPaths(files: Iterable<string>): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const file of files) {
    let { root: folder } = parse(file)
    let remaining = file.slice(folder.length).split(sep)
    let links = 0
    for (let name = remaining.shift(); name !== undefined; name = remaining.shift()) {
      if (name === '' || name === '.') continue
      if (name === '..') {
        folder = dirname(folder)
        continue
      }
      found.set(folder, (found.get(folder) ?? new Set()).add(name))
      const target = readLink(join(folder, name))
      if (target === undefined) folder = join(folder, name)
      else {
        if (++links > MAX_LINKS) break
        const { root } = parse(target)
        if (isAbsolute(target)) folder = root
        remaining = [...target.slice(root.length).split(sep), ...remaining]
      }
    }
  }
  return found
}

function readLink(path: string): string | undefined {
  try {
    return fs.readlinkSync(path)
  } catch {
    return undefined
  }
}
