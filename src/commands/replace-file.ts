import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CommandError } from './outcome.ts'

/** Who may do what with a file that is written. */
export interface FileAccess {
  readonly mode: number
  /** The owner's user and group; by default those of this process. */
  readonly owner?: readonly [uid: number, gid: number]
}

/** Replaces a file by a rename, so that no process reads a part of it. Throws a CommandError if that fails; the file is then unchanged. */
export async function replaceFile(file: string, content: string, access: FileAccess): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(content)
      if (access.owner !== undefined) await changeOwner(handle, access.owner)
      await handle.chmod(access.mode)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw new CommandError(unwritable(file, error))
  }
}

/** Writes a new file, and the folders that lead to it. Throws a CommandError if that fails. */
export async function writeNew(file: string, content: string, mode: number): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content, { mode })
  } catch (error) {
    throw new CommandError(unwritable(file, error))
  }
}

/** Returns why a file can't be written. */
function unwritable(file: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return `There is no folder ${dirname(file)}; nothing was written`
  if (code === 'EEXIST' || code === 'ENOTDIR')
    return `expected a folder, got the file ${dirname(file)}; nothing was written`
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return `The file ${file} can't be written: permission denied`
  return `The file ${file} can't be written (${code})`
}

// A file system without owners refuses any change.
async function changeOwner(
  handle: FileHandle,
  [uid, gid]: readonly [uid: number, gid: number]
): Promise<void> {
  const created = await handle.stat()
  if (created.uid !== uid || created.gid !== gid) await handle.chown(uid, gid)
}
