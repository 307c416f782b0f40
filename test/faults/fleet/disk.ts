import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { NotPossible } from './not-possible.ts'

const run = promisify(execFile)

/**
 * Puts a file system of this size over the folder, so that it can be filled without hurting anybody else.
 *
 * @throws NotPossible where mounting is refused.
 */
export async function mountDisk(folder: string, mebibytes: number): Promise<AsyncDisposable> {
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'docmesh-faults', folder])
  } catch (error) {
    throw new NotPossible(`no disk of its own here: ${(error as Error).message}`, { cause: error })
  }
  return {
    async [Symbol.asyncDispose]() {
      await run('umount', [folder])
    },
  }
}
