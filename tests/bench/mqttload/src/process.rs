//! CPU time and memory of the broker (all threads and child processes) and of the generator.

use std::fs;

#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    pub total: f64, // seconds, nanosecond resolution
    user_ticks: u64,
    sys_ticks: u64,
}

impl Cpu {
    /// (total, user, sys) seconds since `from`. The kernel gives the split in 10 ms
    /// ticks only, so the precise total is divided in the proportion of the ticks.
    pub fn since(&self, from: &Cpu) -> (f64, f64, f64) {
        let total = (self.total - from.total).max(0.0);
        let u = self.user_ticks.saturating_sub(from.user_ticks) as f64;
        let s = self.sys_ticks.saturating_sub(from.sys_ticks) as f64;
        let share = if u + s > 0.0 { u / (u + s) } else { 0.5 };
        (total, total * share, total * (1.0 - share))
    }
}

fn clock(id: libc::clockid_t) -> Option<f64> {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    (unsafe { libc::clock_gettime(id, &mut ts) } == 0)
        .then_some(ts.tv_sec as f64 + ts.tv_nsec as f64 / 1e9)
}

/// CPU seconds used by this process.
pub fn own_cpu() -> f64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0.0)
}

/// The watched broker. Without a pid every figure is zero and reported as null.
pub struct Broker {
    pub pid: Option<u32>,
    pub rss_max: u64,
}

impl Broker {
    pub fn new(pid: Option<u32>) -> Result<Self, String> {
        if let Some(p) = pid {
            fs::read(format!("/proc/{p}/stat")).map_err(|e| format!("--broker-pid {p}: {e}"))?;
        }
        Ok(Broker { pid, rss_max: 0 })
    }

    /// The broker and all its descendants.
    fn tree(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.pid.into_iter().collect();
        let mut i = 0;
        while i < all.len() {
            for t in tasks(all[i]) {
                let kids = fs::read_to_string(format!("/proc/{}/task/{t}/children", all[i]))
                    .unwrap_or_default();
                all.extend(kids.split_whitespace().filter_map(|k| k.parse::<u32>().ok()));
            }
            i += 1;
        }
        all.retain(|p| *p != std::process::id());
        all
    }

    pub fn cpu(&self) -> Cpu {
        let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        let mut sum = Cpu::default();
        for pid in self.tree() {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            // the command name may hold blanks: fields are counted from the last ')'
            let f: Vec<u64> = stat[stat.rfind(')').map_or(0, |i| i + 1)..]
                .split_whitespace()
                .map(|x| x.parse().unwrap_or(0))
                .collect();
            if f.len() < 15 {
                continue;
            }
            let (user, sys, reaped) = (f[11], f[12], f[13] + f[14]);
            sum.user_ticks += user + f[13];
            sum.sys_ticks += sys + f[14];
            // process CPU clock of another process: ~pid << 3 | CPUCLOCK_SCHED
            let precise = clock(!(pid as i32) << 3 | 2).unwrap_or((user + sys) as f64 / hz);
            sum.total += precise + reaped as f64 / hz;
        }
        sum
    }

    /// Resident bytes now; also keeps the maximum.
    pub fn rss(&mut self) -> u64 {
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        let rss = self.tree().into_iter().map(|pid| {
            let s = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
            s.split_whitespace().nth(1).and_then(|x| x.parse::<u64>().ok()).unwrap_or(0) * page
        });
        let rss = rss.sum();
        self.rss_max = self.rss_max.max(rss);
        rss
    }

    /// Proportional set size from smaps_rollup (walks page tables: not for hot loops).
    pub fn pss(&self) -> u64 {
        let one = |pid: u32| -> Option<u64> {
            let s = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            s.lines().find(|l| l.starts_with("Pss:"))?.split_whitespace().nth(1)?.parse().ok()
        };
        self.tree().into_iter().filter_map(one).sum::<u64>() * 1024
    }

    pub fn threads(&self) -> usize {
        self.tree().into_iter().map(|p| tasks(p).len()).sum()
    }

    /// The broker's soft limit of open files.
    pub fn nofile(&self) -> Option<u64> {
        let s = fs::read_to_string(format!("/proc/{}/limits", self.pid?)).ok()?;
        s.lines().find(|l| l.starts_with("Max open files"))?.split_whitespace().nth(3)?.parse().ok()
    }

    /// Pins every thread of the broker to one CPU.
    pub fn pin(&self, cpu: usize) -> Result<(), String> {
        for pid in self.tree() {
            for t in tasks(pid) {
                pin(t as i32, cpu)?;
            }
        }
        Ok(())
    }
}

fn tasks(pid: u32) -> Vec<u32> {
    let Ok(dir) = fs::read_dir(format!("/proc/{pid}/task")) else { return vec![] };
    dir.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Pins a thread (0: the calling one) to one CPU.
pub fn pin(tid: i32, cpu: usize) -> Result<(), String> {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(format!("no CPU {cpu}"));
        }
        libc::CPU_SET(cpu, &mut set);
        match libc::sched_setaffinity(tid, std::mem::size_of_val(&set), &set) {
            0 => Ok(()),
            _ => Err(format!(
                "cannot pin thread {tid} to CPU {cpu}: {}",
                std::io::Error::last_os_error()
            )),
        }
    }
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_nofile() -> u64 {
    unsafe {
        let mut l: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut l);
        l.rlim_cur = l.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &l);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut l);
        l.rlim_cur
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself() {
        // our own process is left out of a tree, so watch a child
        let mut c =
            std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let mut b = Broker::new(Some(c.id())).unwrap();
        let before = b.cpu();
        std::thread::sleep(std::time::Duration::from_millis(150));
        let (total, user, sys) = b.cpu().since(&before);
        let (rss, threads, limit) = (b.rss(), b.threads(), b.nofile());
        c.kill().unwrap();
        c.wait().unwrap();
        assert!(total > 0.01 && (user + sys - total).abs() < 1e-9, "{total} {user} {sys}");
        assert!(rss > 0 && threads == 1 && limit.is_some());
        assert!(Broker::new(Some(c.id())).is_err());
    }
}
