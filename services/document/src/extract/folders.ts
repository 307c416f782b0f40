import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Folders of children carry the pid of the process that made them. */
export const folderPrefix = (tmpDir: string): string => join(tmpDir, `extract-${process.pid}-`)

/**
 * Removes the folders that killed processes left. To be called before this process has children: an earlier process may
 * have had its pid, as in a container that was started again.
 */
export async function removeLeftFolders(tmpDir: string): Promise<void> {
  for (const name of await readdir(tmpDir)) {
    const [, pid] = /^extract-(\d+)-/.exec(name) ?? []
    if (pid && (Number(pid) === process.pid || !isRunning(Number(pid))))
      await rm(join(tmpDir, name), { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
