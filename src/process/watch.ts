import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { dirname, isAbsolute, join, parse, resolve, sep } from 'node:path'
import type { Logger } from 'pino'
import { startInterval, startTimer, stopTimer, type Timer } from '../lib/clock.ts'

// Editors and Kubernetes write in several steps; what settled for this long (in milliseconds) is read.
const SETTLED_AFTER = 100

// Network file systems and some containers report no changes, so the files are read again, in milliseconds.
const LOOK_EVERY = 60_000
const LOOK_EVERY_UNWATCHED = 5000

// As many links in one path as Linux follows.
const MOST_LINKS = 40

/** A watch over files, by their contents. */
export class FileWatch {
  readonly #changed: () => void
  readonly #log: Pick<Logger, 'warn'>
  /** What each file had in it when it was last looked at. */
  #seen = new Map<string, string>()
  #watchers: fs.FSWatcher[] = []
  #settling: Timer | undefined
  #polling: Timer | undefined
  #every = 0
  #warned = false

  /** Makes a watch over no files yet; `changed` is called once the contents of some have changed. */
  constructor(changed: () => void, log: Pick<Logger, 'warn'>) {
    this.#changed = changed
    this.#log = log
  }

  /** Watches these files from now on; one that was watched before is compared with what was seen of it last. */
  watch(files: readonly string[]): void {
    this.#seen = new Map(
      files.map((file) => resolve(file)).map((file) => [file, this.#seen.get(file) ?? digest(file)])
    )
    this.#rearm()
  }

  /** Ends the watch. */
  close(): void {
    stopTimer(this.#settling)
    stopTimer(this.#polling)
    this.#every = 0
    this.#seen.clear()
    this.#disarm()
  }

  #disarm(): void {
    for (const watcher of this.#watchers) watcher.close()
    this.#watchers = []
  }

  /** Watches every folder on the way to each file anew: a folder may be another one now, or a link lead elsewhere. */
  #rearm(): void {
    this.#disarm()
    let failed: NodeJS.ErrnoException | undefined
    for (const [folder, names] of foldersOnTheWay(this.#seen.keys())) {
      try {
        const watcher = fs.watch(folder, (_event, name) => {
          if (name === null || names.has(name)) this.#settle()
        })
        watcher.on('error', () => this.#settle())
        this.#watchers.push(watcher)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        // A folder may be gone or closed to us; the one above it is watched.
        if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'ENOTDIR')
          failed = error as NodeJS.ErrnoException
      }
    }
    if (failed !== undefined && !this.#warned) {
      this.#warned = true
      this.#log.warn(
        { code: failed.code, everySeconds: LOOK_EVERY_UNWATCHED / 1000 },
        "files can't be watched and are polled instead; fs.inotify.max_user_instances or max_user_watches may be used up"
      )
    }
    this.#poll(this.#seen.size === 0 ? 0 : failed === undefined ? LOOK_EVERY : LOOK_EVERY_UNWATCHED)
  }

  #poll(every: number): void {
    if (every === this.#every) return
    this.#every = every
    stopTimer(this.#polling)
    if (every > 0) this.#polling = startInterval(() => this.#look(), every).unref()
  }

  /** Looks once nothing has happened for a while. */
  #settle(): void {
    stopTimer(this.#settling)
    this.#settling = startTimer(() => {
      this.#rearm()
      if (this.#takeChanges()) this.#changed()
    }, SETTLED_AFTER)
  }

  /** Looks for changes that no watcher has reported; what has just begun to be written may settle. */
  #look(): void {
    if ([...this.#seen].some(([file, before]) => digest(file) !== before)) this.#settle()
    else this.#rearm()
  }

  /** Notes the contents of all files; returns whether one has changed. */
  #takeChanges(): boolean {
    let changed = false
    for (const [file, before] of this.#seen) {
      const now = digest(file)
      if (now === before) continue
      changed = true
      this.#seen.set(file, now)
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

/** Lists the folders that are passed on the way to files, through all links, each with the names that are followed in it. */
function foldersOnTheWay(files: Iterable<string>): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const file of files) {
    let { root: folder } = parse(file)
    let left = file.slice(folder.length).split(sep)
    let links = 0
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      if (name === '' || name === '.') continue
      if (name === '..') {
        folder = dirname(folder)
        continue
      }
      found.set(folder, (found.get(folder) ?? new Set()).add(name))
      const to = readLink(join(folder, name))
      if (to === undefined) folder = join(folder, name)
      else {
        if (++links > MOST_LINKS) break
        const { root } = parse(to)
        if (isAbsolute(to)) folder = root
        left = [...to.slice(root.length).split(sep), ...left]
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
