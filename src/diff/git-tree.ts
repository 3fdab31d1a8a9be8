import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The files of a git revision in a temporary folder. */
export interface GitTree extends AsyncDisposable {
  /** The temporary folder. */
  readonly folder: string
  /** The repository, which `folder` mirrors. */
  readonly repository: string
}

const MAX_OUTPUT = 64 * 1024 ** 2
// Configs and what they read are small; other files only take time.
const MAX_FILE = 4 * 1024 ** 2
// Files that git ignores, such as keys, are linked from the working tree, if there are not more.
const MAX_LINKS = 1000

async function git(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await run('git', [...args], {
    cwd,
    env: { ...outsideOfHooks(process.env), ...env },
    maxBuffer: MAX_OUTPUT
  })
  return stdout
}

/** Returns the environment without what git sets for hooks: its folder alone would make the working directory the top of the repository. */
function outsideOfHooks(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (env['GIT_WORK_TREE'] !== undefined) return env
  const { GIT_DIR: _folder, GIT_INDEX_FILE: _index, GIT_PREFIX: _prefix, ...others } = env
  return others
}

/** Returns the commit that a name stands for in the repository around a folder; undefined if there is none. */
export async function findCommit(revision: string, folder: string): Promise<string | undefined> {
  if (revision.startsWith('-')) return undefined
  try {
    return (await git(['rev-parse', '--verify', '--quiet', `${revision}^{commit}`], folder)).trim()
  } catch {
    return undefined
  }
}

/** Returns the last commit that two revisions have in common; undefined if there is none. */
export async function findMergeBase(
  [one, other]: readonly [string, string],
  folder: string
): Promise<string | undefined> {
  if (one.startsWith('-') || other.startsWith('-')) return undefined
  try {
    return (await git(['merge-base', one, other], folder)).trim()
  } catch {
    // Unrelated histories, or a shallow clone that ends before.
    return undefined
  }
}

/** Returns the top folder of the repository around a folder. */
export const repositoryOf = async (folder: string): Promise<string> =>
  (await git(['rev-parse', '--show-toplevel'], folder)).trim()

/** Writes the files of a commit into a temporary folder. The repository, its index and its working tree stay as they are. */
export async function checkOut(commit: string, from: string): Promise<GitTree> {
  const repository = await repositoryOf(from)
  const temporary = await realpath(await mkdtemp(join(tmpdir(), 'sallyport-diff-')))
  const folder = join(temporary, 'tree')
  const tree: GitTree = {
    folder,
    repository,
    [Symbol.asyncDispose]: () => rm(temporary, { recursive: true, force: true })
  }
  try {
    await mkdir(folder)
    const env = { GIT_INDEX_FILE: join(temporary, 'index') }
    const names = namesOfSmallFiles(await git(['ls-tree', '-r', '-l', '-z', commit], repository))
    await git(['read-tree', commit], repository, env)
    for (let i = 0; i < names.length; i += 500)
      await git(
        ['checkout-index', '-f', '-q', `--prefix=${folder}/`, '--', ...names.slice(i, i + 500)],
        repository,
        env
      )
    await linkIgnored(tree, await realpath(from))
  } catch (error) {
    await tree[Symbol.asyncDispose]()
    throw error
  }
  return tree
}

/** Reads the output of ls-tree: "mode type object size TAB name". */
const namesOfSmallFiles = (list: string): string[] =>
  list.split('\0').flatMap((entry) => {
    const [, kind, size, name] = /^\d+ (\w+) \w+ +(\S+)\t(.*)$/s.exec(entry) ?? []
    return kind === 'blob' && name !== undefined && Number(size) <= MAX_FILE ? [name] : []
  })

/** Links what git does not know: packages that modules import, and files beside the config such as keys. */
async function linkIgnored({ folder, repository }: GitTree, from: string): Promise<void> {
  const root = await realpath(repository)
  for (let at = from; at.startsWith(root); at = dirname(at)) {
    await link(join(at, 'node_modules'), join(folder, relative(root, at), 'node_modules'))
    if (at === root) break
  }
  const others = (await git(['ls-files', '--others', '-z', '-x', 'node_modules', '--', from], from))
    .split('\0')
    .filter((name) => name !== '')
  if (others.length > MAX_LINKS) return
  for (const name of others) {
    const file = resolve(from, name)
    await link(file, join(folder, relative(root, file)))
  }
}

async function link(file: string, at: string): Promise<void> {
  if (!existsSync(file) || existsSync(at)) return
  await mkdir(dirname(at), { recursive: true })
  await symlink(file, at)
}
