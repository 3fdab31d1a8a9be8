import fs, {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileWatch } from '../../src/process/watch.ts'
import { movableClock, readableLog } from '../helpers.ts'

/** Watches a file of a folder; each change settles one `next`. */
function watching(
  t: Test,
  folder: string,
  file: string
): { next(): Promise<string>; count(): number; lines: Record<string, unknown>[]; watch: FileWatch } {
  const { log, lines } = readableLog()
  const waiting: (() => void)[] = []
  let changes = 0
  let told = 0
  const watch = new FileWatch(() => {
    changes++
    for (const settle of waiting.splice(0)) settle()
  }, log)
  watch.watch([join(folder, file)])
  t.teardown(() => watch.close())
  return {
    watch,
    lines,
    count: () => changes,
    async next() {
      if (changes === told) await new Promise<void>((resolve) => waiting.push(resolve))
      told = changes
      return readFileSync(join(folder, file), 'utf8')
    }
  }
}

const link = (to: string, at: string): void => {
  symlinkSync(to, `${at}.new`)
  renameSync(`${at}.new`, at)
}

interface Case {
  readonly name: string
  readonly file: string
  /** Makes the file, with "one" in it. */
  make(folder: string): void
  /** Puts another text into it. */
  change(folder: string, text: string): void
}

const release = (folder: string, text: string): void => {
  const before = readdirSync(folder).filter((name) => name.startsWith('r'))
  mkdirSync(join(folder, `r${text}`))
  writeFileSync(join(folder, `r${text}`, 'file'), text)
  link(`r${text}`, join(folder, 'current'))
  for (const name of before) rmSync(join(folder, name), { recursive: true })
}

const cases: Case[] = [
  {
    name: 'written in place',
    file: 'file',
    make: (folder) => writeFileSync(join(folder, 'file'), 'one'),
    change: (folder, text) => writeFileSync(join(folder, 'file'), text)
  },
  {
    name: 'replaced by rename',
    file: 'file',
    make: (folder) => writeFileSync(join(folder, 'file'), 'one'),
    change(folder, text) {
      writeFileSync(join(folder, 'swap'), text)
      renameSync(join(folder, 'swap'), join(folder, 'file'))
    }
  },
  {
    name: 'removed and made anew',
    file: 'file',
    make: (folder) => writeFileSync(join(folder, 'file'), 'one'),
    change(folder, text) {
      unlinkSync(join(folder, 'file'))
      writeFileSync(join(folder, 'file'), text)
    }
  },
  {
    name: 'a ConfigMap or Secret, whose ..data moves on',
    file: 'file',
    make(folder) {
      mkdirSync(join(folder, '..one'))
      writeFileSync(join(folder, '..one/file'), 'one')
      symlinkSync('..one', join(folder, '..data'))
      symlinkSync('..data/file', join(folder, 'file'))
    },
    change(folder, text) {
      const before = fs.readlinkSync(join(folder, '..data'))
      mkdirSync(join(folder, `..${text}`))
      writeFileSync(join(folder, `..${text}`, 'file'), text)
      link(`..${text}`, join(folder, '..data'))
      rmSync(join(folder, before), { recursive: true })
    }
  },
  {
    name: 'a link into another folder that is a link of an agent',
    file: 'tls/file',
    make(folder) {
      mkdirSync(join(folder, 'agent'))
      release(join(folder, 'agent'), 'one')
      mkdirSync(join(folder, 'tls'))
      symlinkSync('../agent/current/file', join(folder, 'tls/file'))
    },
    change: (folder, text) => release(join(folder, 'agent'), text)
  },
  {
    name: 'a link to an absolute path, whose file is written in place',
    file: 'file',
    make(folder) {
      mkdirSync(join(folder, 'real'))
      writeFileSync(join(folder, 'real/file'), 'one')
      symlinkSync(join(folder, 'real/file'), join(folder, 'file'))
    },
    change: (folder, text) => writeFileSync(join(folder, 'real/file'), text)
  },
  {
    name: 'releases/current',
    file: 'current/file',
    make: (folder) => release(folder, 'one'),
    change: release
  },
  {
    name: 'a folder that is removed and made anew',
    file: 'a/b/file',
    make(folder) {
      mkdirSync(join(folder, 'a/b'), { recursive: true })
      writeFileSync(join(folder, 'a/b/file'), 'one')
    },
    change(folder, text) {
      rmSync(join(folder, 'a'), { recursive: true })
      mkdirSync(join(folder, 'a/b'), { recursive: true })
      writeFileSync(join(folder, 'a/b/file'), text)
    }
  },
  {
    name: 'a folder that is swapped by rename',
    file: 'conf/file',
    make(folder) {
      mkdirSync(join(folder, 'conf'))
      writeFileSync(join(folder, 'conf/file'), 'one')
    },
    change(folder, text) {
      mkdirSync(join(folder, 'next'))
      writeFileSync(join(folder, 'next/file'), text)
      rmSync(join(folder, 'conf'), { recursive: true })
      renameSync(join(folder, 'next'), join(folder, 'conf'))
    }
  }
]

for (const { name, file, make, change } of cases)
  t.test(`notices each change of a file: ${name}`, async (t) => {
    const folder = t.testdir()
    make(folder)
    const { next } = watching(t, folder, file)
    for (const text of ['two', 'three', 'four']) {
      change(folder, text)
      t.equal(await next(), text)
    }
  })

t.test('notices a missing file that appears together with its folder', async (t) => {
  const folder = t.testdir()
  const { next } = watching(t, folder, 'a/b/file')
  mkdirSync(join(folder, 'a/b'), { recursive: true })
  writeFileSync(join(folder, 'a/b/file'), 'there')
  t.equal(await next(), 'there')
})

t.test('keeps a change that happens between two lists of files', async (t) => {
  const folder = t.testdir({ file: 'one', other: 'x' })
  const { next, watch } = watching(t, folder, 'file')
  writeFileSync(join(folder, 'file'), 'two')
  watch.watch([join(folder, 'file'), join(folder, 'other')])
  writeFileSync(join(folder, 'other'), 'y')
  t.equal(await next(), 'two')
})

t.test('notices a change that no watcher reports within a minute', async (t) => {
  const clock = movableClock(t)
  t.intercept(fs, 'watch', { value: () => ({ on: () => {}, close: () => {} }) })
  const folder = t.testdir({ file: 'one' })
  const { next, count, lines } = watching(t, folder, 'file')
  writeFileSync(join(folder, 'file'), 'two')
  clock.advance(60_000)
  clock.advance(1000)
  t.equal(await next(), 'two')
  clock.advance(60_000)
  clock.advance(1000)
  t.equal(count(), 1, 'nothing is called where nothing has changed')
  t.strictSame(lines, [])
})

t.test('warns once and polls when no inotify instance is left', async (t) => {
  const clock = movableClock(t)
  t.intercept(fs, 'watch', {
    value() {
      throw Object.assign(new Error('EMFILE: too many open files, watch'), { code: 'EMFILE' })
    }
  })
  const folder = t.testdir({ file: 'one' })
  const { next, lines } = watching(t, folder, 'file')
  for (const text of ['two', 'three']) {
    writeFileSync(join(folder, 'file'), text)
    clock.advance(5000)
    clock.advance(1000)
    t.equal(await next(), text)
  }
  t.match(lines, [{ level: 'warn', code: 'EMFILE', msg: /^file watching failed, polling instead/ }])
  t.equal(lines.length, 1)
})
