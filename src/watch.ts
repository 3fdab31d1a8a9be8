import { createHash } from 'node:crypto'
import { existsSync, type FSWatcher, readFileSync, watch } from 'node:fs'
import { dirname } from 'node:path'

/** A watch over files. */
export interface Watch {
  close(): void
}

// Editors and Kubernetes write in several steps; what settled for this long (in milliseconds) is read.
const SETTLED_AFTER = 100

/** Watches files by their folders, so that renames and swapped links are seen, and calls back once their contents have changed. */
export function watchFiles(files: readonly string[], changed: () => void): Watch {
  let seen = digest(files)
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      const now = digest(files)
      if (now === seen) return
      seen = now
      changed()
    }, SETTLED_AFTER)
  }
  const folders = [...new Set(files.map((file) => dirname(file)))].filter((folder) => existsSync(folder))
  const watchers: FSWatcher[] = folders.map((folder) => watch(folder, look).on('error', look))
  return {
    close() {
      clearTimeout(timer)
      for (const watcher of watchers) watcher.close()
    }
  }
}

function digest(files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) {
    try {
      hash.update(readFileSync(file)).update('\0')
    } catch {
      hash.update('missing\0')
    }
  }
  return hash.digest('hex')
}
