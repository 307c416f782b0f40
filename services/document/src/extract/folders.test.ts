import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { folderPrefix, removeLeftFolders } from './folders.ts'

test('removes the folders of processes that are gone, of an earlier one with its own pid too, and no others', async () => {
  const tmpDir = await mkdtemp(join(tmpdir(), 'folders-test-'))
  const { pid: gone } = spawnSync(process.execPath, ['--version'])
  const kept = [`extract-${process.ppid}-aaaaaa`, 'extract-report', 'other']
  try {
    await mkdtemp(folderPrefix(tmpDir))
    for (const name of [`extract-${gone}-aaaaaa`, ...kept]) await mkdir(join(tmpDir, name))
    await removeLeftFolders(tmpDir)
    expect((await readdir(tmpDir)).toSorted()).toEqual(kept.toSorted())
  } finally {
    await rm(tmpDir, { recursive: true })
  }
})
