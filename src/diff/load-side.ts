import { existsSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { ConfigError } from '../config/fault.ts'
import { findConfig } from '../config/find-config.ts'
import { loadPlan } from '../config/load.ts'
import type { Plan } from '../config/plan-types.ts'
import { StandIns } from '../config/stand-ins.ts'
import { catalog } from '../gateway/catalog.ts'
import { displayPath } from '../lib/display-path.ts'
import { checkOut, findCommit, type GitTree, repositoryOf } from './git-tree.ts'

/** One of the two configs. Its files exist until it is disposed. */
export interface Side extends AsyncDisposable {
  /** How it was named. */
  readonly name: string
  readonly plan: Plan
  /** The folder of its config; names of files are compared relative to it. */
  readonly folder: string
  readonly standIns: StandIns
  /** Returns a place with the name of the revision in place of the temporary folder. */
  readonly shown: (place: string) => string
}

/** The environment of both configs. */
export type Environment = Readonly<Record<string, string | undefined>>

const SECRET = 'unset-session-secret'.padEnd(64, '-')

/** Reads a config by the name of a file, a folder or "REVISION:FILE"; a revision alone takes `file`. Throws a ConfigError. */
export async function loadSide(name: string, env: Environment, file?: string): Promise<Side> {
  if (existsSync(name)) return loadFile(name, inFolder(name), env)
  const [, revision = '', path = ''] = /^([^:]+)(?::(.*))?$/.exec(name) ?? []
  const from = path === '' && file !== undefined ? dirname(resolve(file)) : process.cwd()
  const commit = await findCommit(revision, from)
  if (commit === undefined)
    throw problem(
      name,
      'There is no such file, folder or git revision; "HEAD~1:gateway.json" names a file of a revision'
    )
  const tree = await checkOut(commit, from)
  try {
    return await loadFile(name, await fileInTree(tree, { name, path, file, from }), env, tree)
  } catch (error) {
    await tree[Symbol.asyncDispose]()
    throw error instanceof ConfigError ? inRevision(error, tree, revision) : error
  }
}

/** Names files as the revision has them, and not as the temporary folder. */
const inRevision = (error: ConfigError, { folder }: GitTree, revision: string): ConfigError =>
  new ConfigError(
    error.faults.map((fault) => ({
      ...fault,
      file: withoutFolder(fault.file, folder, `${revision}:`),
      message: withoutFolder(fault.message, folder, '')
    }))
  )

const withoutFolder = (text: string, folder: string, instead: string): string =>
  text.replaceAll(`${folder}/`, instead).replaceAll(`${displayPath(folder)}/`, instead)

interface WantedFile {
  readonly name: string
  readonly path: string
  readonly file: string | undefined
  readonly from: string
}

/** Finds the config in the files of a revision: from the top of the repository as git does, else from the working directory. */
async function fileInTree(tree: GitTree, { name, path, file, from }: WantedFile): Promise<string> {
  const repository = await repositoryOf(from)
  const inTree = (absolute: string): string => join(tree.folder, relative(repository, absolute))
  const wanted =
    path === '' && file !== undefined
      ? [inTree(resolve(file))]
      : path.startsWith('./') || path.startsWith('../') || isAbsolute(path)
        ? [inTree(resolve(path))]
        : [join(tree.folder, path), inTree(resolve(path))]
  const found = wanted.find((each) => existsSync(each))
  if (found === undefined) throw problem(name, `There is no file ${path || (file ?? '')} in this revision`)
  return inFolder(found)
}

const inFolder = (path: string): string =>
  statSync(path).isDirectory() ? join(path, findConfig(path)) : path

async function loadFile(name: string, file: string, env: Environment, tree?: GitTree): Promise<Side> {
  const standIns = new StandIns()
  const revision = name.split(':', 1)[0] ?? ''
  const plan = await loadPlan(file, catalog, { SESSION_SECRET: SECRET, ...env }, standIns)
  return {
    name,
    plan,
    folder: dirname(resolve(file)),
    standIns,
    shown: (place) => (tree === undefined ? place : withoutFolder(place, tree.folder, `${revision}:`)),
    [Symbol.asyncDispose]: async () => tree?.[Symbol.asyncDispose]()
  }
}

const problem = (file: string, message: string): ConfigError =>
  new ConfigError([{ file: file, path: '', message }])
